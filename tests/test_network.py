"""What only a network can show: that the registered addresses still give the registered files (`make network`)."""

import pytest

from cellcount import registry

pytestmark = pytest.mark.network


def test_a_file_of_each_data_set_is_fetched_and_verified(tmp_path, monkeypatch):
    monkeypatch.delenv("CELLCOUNT_DATA", raising=False)
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path))
    for name, dataset in registry.DATASETS.items():
        known = min((known for known in dataset.files.values() if known.url), key=lambda k: k.bytes, default=None)
        if known:
            assert registry.fetch_file(name, known.path).stat().st_size == known.bytes


@pytest.mark.parametrize("name", sorted(name for name, entry in registry.WEIGHTS.items() if entry.url))
def test_the_address_of_weights_answers_with_their_size(name):
    import requests

    entry = registry.WEIGHTS[name]
    answer = requests.head(entry.url, timeout=30, allow_redirects=True)
    assert answer.ok and int(answer.headers.get("Content-Length", entry.bytes)) == entry.bytes
