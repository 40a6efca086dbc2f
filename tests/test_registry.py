"""The registry: what it names, where it looks, and what it says without a network."""

import hashlib
import re
import threading
from dataclasses import replace

import pytest

from cellcount import registry
from cellcount.errors import DataError, NotAvailableError, ParameterError

CONTENT = b"points"


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty local folder and an empty cache, and a data set of one file that nobody serves."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("CELLCOUNT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256(CONTENT).hexdigest()
    known = registry.datasets.KnownFile("a/b.txt", digest, len(CONTENT), "http://127.0.0.1:9/b.txt")
    toy = registry.datasets.Dataset("toy", "", "", "", {"a/b.txt": known})
    monkeypatch.setitem(registry.DATASETS, "toy", toy)
    monkeypatch.setattr(registry.fetch, "_probed", {})
    registry.fetch._digest.cache_clear()
    return tmp_path


def put(path, content=CONTENT):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def net(**more):
    """Weights of six bytes."""
    return registry.weights.Weights(name="net", filename="net.pt", bytes=6, licence="none", citation="none", **more)


def test_entries_are_complete():
    assert len(registry.known_dataset("thesis").files) == 34 + 8
    assert len(registry.known_dataset("vgg-cells").files) == 400
    for dataset in registry.DATASETS.values():
        assert dataset.licence and dataset.description and bool(dataset.citation) == bool(dataset.files)
        for path, known in dataset.files.items():
            assert known.path == path and known.bytes > 0 and re.fullmatch("[0-9a-f]{64}", known.sha256)
            name = {"device-pairs.csv": "cellnet-vs-countess-all.csv"}.get(path, path.split("/")[-1])
            assert known.url is None or known.url.startswith("https://") and known.url.endswith(name)


def test_the_local_folder_comes_before_the_cache(places):
    assert registry.find("toy", "a/b.txt") is None
    cached = put(places / "cache" / "toy" / "a" / "b.txt")
    assert registry.find("toy", "a/b.txt") == cached
    local = put(places / "data" / "toy" / "a" / "b.txt")
    assert registry.fetch_file("toy", "a/b.txt") == local
    assert registry.missing("toy") == []


def test_a_wrong_local_file_is_refused_and_a_right_one_taken_again(places):
    local = put(places / "data" / "toy" / "a" / "b.txt", b"painted")
    with pytest.raises(DataError, match=r"b\.txt"):
        registry.find("toy", "a/b.txt")
    local.write_bytes(CONTENT)
    assert registry.find("toy", "a/b.txt") == local


def test_a_damaged_file_of_the_cache_counts_as_missing(places):
    put(places / "cache" / "toy" / "a" / "b.txt", b"half")
    assert registry.find("toy", "a/b.txt") is None
    with pytest.raises(NotAvailableError):
        registry.fetch_file("toy", "a/b.txt")


def test_a_file_is_hashed_once(places, monkeypatch):
    put(places / "data" / "toy" / "a" / "b.txt")
    calls = []
    monkeypatch.setattr(
        registry.fetch, "sha256", lambda path: calls.append(path) or hashlib.sha256(CONTENT).hexdigest()
    )
    registry.find("toy", "a/b.txt")
    registry.find("toy", "a/b.txt")
    assert len(calls) == 1


def check_sentence(error, url_host):
    text = str(error.value)
    assert "\n" not in text
    assert "toy/a/b.txt" in text and "1 kB" in text and url_host in text
    assert "cellcount data fetch toy" in text and "CELLCOUNT_DATA" in text


def test_offline_refused(places):
    with pytest.raises(NotAvailableError) as error:
        registry.fetch_file("toy", "a/b.txt")
    check_sentence(error, "127.0.0.1:9")


def test_offline_without_any_answer(places, monkeypatch):
    """An address that swallows packets, or a resolver that hangs: cut off in time, and asked only once."""
    import requests

    toy = registry.DATASETS["toy"]
    known = replace(toy.files["a/b.txt"], url="https://silent.invalid/b.txt")
    monkeypatch.setitem(registry.DATASETS, "toy", replace(toy, files={"a/b.txt": known}))

    asked, over = [], threading.Event()

    def hang(*args, **options):
        asked.append(args)
        over.wait(60)
        raise requests.Timeout

    monkeypatch.setattr(requests, "head", hang)
    monkeypatch.setattr(registry.fetch, "PROBE_SECONDS", 0.1)
    with pytest.raises(NotAvailableError) as error:
        registry.fetch_file("toy", "a/b.txt")
    check_sentence(error, "silent.invalid")
    with pytest.raises(NotAvailableError):
        registry.fetch_all("toy")
    assert len(asked) == 1 and not over.is_set(), "it did not wait for the answer"
    over.set()


@pytest.fixture
def server(places, monkeypatch):
    """A server of the files below `places`/served, as the public origin of the data set toy."""
    import functools
    import http.server

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    (places / "served").mkdir()
    handler = functools.partial(Quiet, directory=places / "served")
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    toy = registry.DATASETS["toy"]
    known = replace(toy.files["a/b.txt"], url=f"http://127.0.0.1:{running.server_port}/b.txt")
    monkeypatch.setitem(registry.DATASETS, "toy", replace(toy, files={"a/b.txt": known}))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield places / "served"
    running.shutdown()
    running.server_close()


def test_fetching_fills_the_cache(server, places):
    put(server / "b.txt")
    path = registry.fetch_file("toy", "a/b.txt")
    assert path == places / "cache" / "toy" / "a" / "b.txt" and path.read_bytes() == CONTENT
    (server / "b.txt").unlink()
    assert registry.fetch_all("toy") == {"a/b.txt": path}


def test_a_changed_origin_is_refused(server, places):
    put(server / "b.txt", b"changed")
    with pytest.raises(DataError, match="SHA-256"):
        registry.fetch_file("toy", "a/b.txt")
    assert not (places / "cache" / "toy" / "a" / "b.txt").exists()


def test_an_origin_without_the_file_is_no_origin(server):
    with pytest.raises(NotAvailableError, match="404"):
        registry.fetch_file("toy", "a/b.txt")


def test_weights_are_looked_for_in_three_places(places, monkeypatch):
    digest = hashlib.sha256(CONTENT).hexdigest()
    entry = net(sha256=digest, cache=["$NETHOME/models/net.pt"])
    monkeypatch.setitem(registry.WEIGHTS, "net", entry)
    monkeypatch.setenv("NETHOME", str(places / "nethome"))
    with pytest.raises(NotAvailableError, match="net.pt"):
        registry.fetch_weights("net")
    for place in ("cache/weights", "nethome/models", "data/weights"):
        path = put(places / place / "net.pt")
        assert registry.fetch_weights("net") == path
    path.write_bytes(b"other")
    with pytest.raises(DataError, match="net.pt"):
        registry.find_weights("net")


def test_unknown_names(places):
    with pytest.raises(ParameterError, match="thesis"):
        registry.find("these", "a")
    with pytest.raises(ParameterError, match="nothing.txt"):
        registry.find("toy", "nothing.txt")
    with pytest.raises(ParameterError, match="these.*cellpose-cyto3"):
        registry.find_weights("these")


def test_a_wrong_data_folder_is_named(monkeypatch):
    monkeypatch.setenv("CELLCOUNT_DATA", "/nowhere/at/all")
    with pytest.raises(NotAvailableError, match="/nowhere/at/all"):
        registry.find("thesis", "data.csv")


def test_weights_have_a_hash_or_an_address_to_ask_for_it():
    assert registry.WEIGHTS
    for name, entry in registry.WEIGHTS.items():
        assert entry.name == name and entry.filename and entry.licence and entry.citation and entry.bytes > 0
        assert re.fullmatch("[0-9a-f]{64}", entry.sha256) if entry.sha256 else entry.url.startswith("https://")


@pytest.fixture
def unpublished(places, monkeypatch):
    """Weights whose hash nobody has published, in CELLCOUNT_DATA/weights."""
    entry = net(url="http://127.0.0.1:9/net.pt")
    monkeypatch.setitem(registry.WEIGHTS, "net", entry)
    return put(places / "data" / "weights" / "net.pt")


def test_weights_without_a_published_hash_need_the_users_word(unpublished, places):
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert registry.weights.pin("net") is None
    with pytest.raises(DataError, match=f"{digest}  net.pt.*SHA256SUMS"):
        registry.find_weights("net")
    sums = unpublished.parent / "SHA256SUMS"
    sums.write_text(f"{'0' * 64}  other.pt\n{digest}  net.pt\n")
    assert registry.weights.pin("net") == digest and registry.find_weights("net") == unpublished
    sums.write_text(f"{digest.upper()} *some/folder/net.pt\n")  # as sha256sum writes it for a path, read as binary
    assert registry.fetch_weights("net") == unpublished
    sums.write_text(f"{'0' * 64}  net.pt\n")
    with pytest.raises(DataError, match="net.pt"):
        registry.find_weights("net")


def test_weights_without_a_published_hash_are_never_downloaded(unpublished):
    unpublished.unlink()
    assert registry.find_weights("net") is None
    with pytest.raises(NotAvailableError, match="http://127.0.0.1:9/net.pt.*SHA256SUMS"):
        registry.fetch_weights("net")


def test_weights_are_looked_for_in_the_librarys_caches(places, monkeypatch):
    digest = hashlib.sha256(CONTENT).hexdigest()
    caches = ("$NO_SUCH_VARIABLE/net.pt", "$LIBRARY/net.pt")
    entry = net(sha256=digest, cache=caches)
    monkeypatch.setitem(registry.WEIGHTS, "net", entry)
    monkeypatch.setenv("LIBRARY", str(places / "library"))
    assert registry.find_weights("net") is None
    cached = put(places / "library" / "net.pt")
    assert registry.find_weights("net") == cached


def test_weights_of_which_only_another_hash_is_published(places, monkeypatch):
    """micro-SAM gives XXH128; a file that has it is used, another one named."""
    import pooch

    path = put(places / "data" / "weights" / "net.pt")
    entry = net(xxh128=pooch.file_hash(path, alg="xxh128"))
    monkeypatch.setitem(registry.WEIGHTS, "net", entry)
    assert registry.find_weights("net") == path
    assert registry.digest(path) == hashlib.sha256(CONTENT).hexdigest()
    path.write_bytes(b"painted")
    with pytest.raises(DataError, match="net.pt.*XXH128"):
        registry.find_weights("net")


def test_fingerprint_names_the_hash_that_upstream_publishes():
    known = registry.WEIGHTS["sam-vit_b"]
    assert known.fingerprint() == f"SHA-256 {known.sha256}"
    assert known.fingerprint(8) == f"SHA-256 {known.sha256[:8]}"
    assert replace(known, sha256=None, xxh128="abcdef").fingerprint(3) == "XXH128 abc"
    assert replace(known, sha256=None).fingerprint(8) == ""
