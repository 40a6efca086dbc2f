"""SAM: the same masks as segment_anything's own predictor, tile by tile, resumed, and with weights only where they are.

Most of it runs on a network of SAM's design with a few thousand random weights: what it sees is nonsense, but where it
looks, what is cut, kept and read is the same as for the large ones.
"""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from cellcount import registry
from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.methods import METHODS, prompts, sam, weights_files
from cellcount.methods.masks import Masks
from cellcount.methods.sam import backbones, decoding, small
from cellcount.methods.sam import session as session_module
from cellcount.methods.sam.session import eight_bit
from cellcount.tiling import owned, tiled

TINY = {"width": 32, "depth": 1, "heads": 2, "prompt_width": 32, "stem": (8, 8, 16)}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Nothing of this machine: empty folders for data and cache, and no network."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("CELLCOUNT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CELLCOUNT_OFFLINE", "1")
    for name, entry in registry.WEIGHTS.items():
        monkeypatch.setitem(registry.WEIGHTS, name, replace(entry, cache=None))
    return tmp_path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    network = small.build(small.Settings(**TINY))
    with torch.no_grad():  # masks of fresh weights are all or nothing: louder prompts give them a shape
        for parameter in network.mask_decoder.parameters():
            parameter.mul_(2.5)
    out = tmp_path_factory.mktemp("sam") / "tiny.safetensors"
    return saved(network, out)


def saved(network, out):
    about = {"format": small.FORMAT, "settings": asdict(small.Settings(**TINY)), "losses": []}
    return weights_files.write(out, network.state_dict(), about)


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    return rng.uniform(0.2, 0.9, (small.TILE, small.TILE)).astype(np.float32)


def opened(image, weights, **settings):
    return sam.Session(image, model="small", weights=weights, device="cpu", progress=False, **settings)


def predictor(session):
    """segment_anything's own predictor on the session's only tile, with the embedding as it is kept."""
    from segment_anything import SamPredictor

    own = SamPredictor(session.loaded.sam)
    own.set_image(eight_bit(session.image, session.embeddings.exposure))
    own.features = own.features.half().float()
    return own


CENTRES = np.float32([[20, 90], [100, 33], [64, 64]])  # asymmetric: y and x differ


@pytest.mark.parametrize("kind", ["point", "cross", "neighbours", "box"])
def test_masks_are_those_of_segment_anything_given_x_and_y(image, weights, kind):
    """The line that turns (y, x) into (x, y), for points, their labels, and boxes."""
    session = opened(image, weights)
    made = prompts.MAKERS[kind](CENTRES)
    found, own, turned = session.segment(made), predictor(session), 0
    for i in range(len(made)):
        real = made.signs[i] != 0
        xy, labels = made.points[i][real][:, ::-1], (made.signs[i][real] > 0).astype(int)
        given = {"point_coords": xy, "point_labels": labels} if len(xy) else {}
        if made.boxes is not None:
            y0, x0, y1, x1 = np.clip(made.boxes[i], 0, small.TILE - 1)
            given["box"] = np.array([x0, y0, x1, y1])
        masks, scores, _ = own.predict(**given, multimask_output=kind == "point")
        best = scores.argmax()
        np.testing.assert_array_equal(found.full(i), masks[best])
        assert found.scores[i] == pytest.approx(scores[best], abs=1e-5)
        wrong = {name: value[..., ::-1] if name == "point_coords" else value for name, value in given.items()}
        if "box" in wrong:
            wrong["box"] = wrong["box"][[1, 0, 3, 2]]
        turned += (own.predict(**wrong, multimask_output=kind == "point")[0][best] != found.full(i)).any()
    assert turned >= 2, "exchanging x and y must show"


@pytest.mark.slow
def test_the_librarys_loop_wants_x_and_y(image, weights):
    """`micro_sam.inference.batched_inference`, which workflow/sam_cost.py times, takes (x, y) unlike its neighbours."""
    from micro_sam.inference import batched_inference

    session = opened(image, weights)
    found, own = session.segment(CENTRES), predictor(session)
    given = CENTRES[:, None] * small.TILE / 1024  # it takes every network's input for SAM's 1024 px
    for order, same in ((slice(None, None, -1), True), (slice(None), False)):
        answers = batched_inference(
            own, None, 4, points=given[..., order].copy(), point_labels=np.ones((len(CENTRES), 1), int),
            multimasking=True, return_instance_segmentation=False, verbose_embeddings=False,
        )  # fmt: skip
        agreed = [bool((answer["segmentation"] == found.full(i)).all()) for i, answer in enumerate(answers)]
        assert agreed[:2] == [same, same], "the third lies on the diagonal"


def test_a_prompt_is_encoded_at_its_own_place(weights):
    """Without any training: a point's position code is nearest to that of the token that it lies on."""
    network = small.load(weights)
    made = prompts.point(CENTRES)
    given, _ = decoding.as_sam(made.points, made.signs, None, "cpu")
    with torch.no_grad():
        codes = network.prompt_encoder(points=given, boxes=None, masks=None)[0][:, 0]
        codes = codes - network.prompt_encoder.point_embeddings[1].weight
        tokens = network.prompt_encoder.get_dense_pe()[0]  # (C, 16, 16), rows first
        likeness = torch.einsum("nc,chw->nhw", codes, tokens).flatten(1).argmax(1)
    found = np.stack(np.unravel_index(likeness.numpy(), tokens.shape[1:]), axis=1)
    np.testing.assert_array_equal(found, np.floor((CENTRES + 0.5) / small.PATCH))


def test_the_scale_is_the_same_on_every_window(image, weights):
    """A window cut by the image's border is not enlarged to fill the network's input: cells keep their size there."""
    embeddings = opened(image, weights).embeddings
    for window in ((0, 128, 0, 128), (0, 60, 0, 128), (0, 128, 100, 128), (7, 50, 3, 93)):
        rows, columns = window[1] - window[0], window[3] - window[2]
        scaled = embeddings.transform(window).get_preprocess_shape(
            rows, columns, embeddings.transform(window).target_length
        )
        assert scaled == (rows, columns)


def field(shape=(210, 300), seed=3):
    return np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32)


def scattered(shape, n=60, seed=4):
    return np.random.default_rng(seed).uniform((-2, -2), np.array(shape) + 1, (n, 2)).astype(np.float32)


def test_every_prompt_gets_the_mask_of_the_tile_that_owns_it(weights):
    image, centres = field(), scattered((210, 300))
    session = opened(image, weights)
    found = session.segment(centres)
    assert len(found) == 60 and len(session.tiles) > 6
    answered = np.zeros(60, int)
    for window, core in session.tiles:
        rows, local = owned(prompts.point(centres), window, core, image.shape)
        answered[rows] += 1
        y0, y1, x0, x1 = window
        part = opened(image[y0:y1, x0:x1], weights, exposure=session.embeddings.exposure)
        for i, other in zip(rows, _on_one_tile(part, local), strict=True):
            np.testing.assert_array_equal(found.full(i)[y0:y1, x0:x1], other)
            assert found.areas[i] == other.sum()
    assert (answered == 1).all()


def _on_one_tile(session, made):
    """Masks of prompts on an image that is one window, whatever tiles would be made of it."""
    height, width = session.image.shape
    transform = session.embeddings.transform((0, height, 0, width))
    features = session.embeddings.features((0, height, 0, width))
    masks = np.zeros((len(made), height, width), bool)
    for candidate in decoding.decode(session.loaded.sam, features, transform, (height, width), made):
        masks[candidate.row] = candidate.mask
    return masks


def test_the_order_of_prompts_and_the_batch_do_not_matter(weights):
    image, centres = field(), scattered((210, 300), n=25)
    order = np.random.default_rng(5).permutation(25)
    one = opened(image, weights, batch=3).segment(prompts.neighbours(centres))
    other = opened(image, weights, batch=16).segment(prompts.neighbours(centres).take(order))
    for i, j in enumerate(order):
        assert (one.full(j) != other.full(i)).mean() < 1e-3  # sums in another order may tip a pixel


def test_an_interrupted_run_goes_on_where_it_stopped(weights, monkeypatch):
    image, centres = field(), scattered((210, 300))
    whole = opened(image, weights, cache=False).segment(centres)
    real, calls = session_module.decode, []

    def breaks(*arguments, **settings):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    monkeypatch.setattr(session_module, "decode", breaks)
    first = opened(image, weights, cache=True)
    with pytest.raises(KeyboardInterrupt):
        first.segment(centres)
    assert 0 < first.decoded < 60
    second = opened(image, weights, cache=True)
    found = second.segment(centres)
    assert second.decoded == 60 - first.decoded
    asked = sum(len(owned(centres, window, core, image.shape)[0]) > 0 for window, core in second.tiles)
    assert second.embeddings.computed == asked - 4, "four tiles were embedded before"
    for i in range(60):
        np.testing.assert_array_equal(found.full(i), whole.full(i))
    third = opened(image, weights, cache=True)
    third.segment(centres)
    assert third.decoded == 0 and third.embeddings.computed == 0


def test_an_embedding_is_never_taken_for_another(weights, tmp_path):
    image = field((128, 128))
    first = opened(image, weights, cache=True)
    first.embed()
    assert first.embeddings.computed == len(first.tiles) > 0
    again = opened(image, weights, cache=True)
    again.embed()
    assert again.embeddings.computed == 0
    for other in (
        opened(image[:, ::-1].copy(), weights, cache=True),
        opened(image, weights, cache=True, exposure=(0, 2)),
    ):
        assert other.embeddings.folder != first.embeddings.folder
    changed = small.load(weights)
    torch.nn.init.normal_(changed.mask_decoder.iou_token.weight)
    other = saved(changed, tmp_path / "other.safetensors")
    assert opened(image, other).embeddings.key != first.embeddings.key


def test_a_damaged_file_of_the_cache_is_computed_again(weights):
    image, centres = field((128, 128)), scattered((128, 128), n=5)
    first = opened(image, weights, cache=True)
    whole = first.segment(centres)
    files = [path for folder in ("embeddings", "masks") for path in (registry.cache_root() / folder).rglob("*.npz")]
    assert len(files) == 2
    for path in files:
        path.write_bytes(path.read_bytes()[:200])
    again = opened(image, weights, cache=True)
    np.testing.assert_array_equal(again.segment(centres).labels(), whole.labels())
    assert again.embeddings.computed == 1 and again.decoded == 5


def test_a_cache_that_is_not_writable_is_named_once(weights, monkeypatch, caplog, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path / "file"))
    session = opened(field(), weights, cache=True)
    session.embed()
    assert session.embeddings.computed == len(session.tiles)
    assert len(caplog.records) == 1 and "not writable" in caplog.text


def test_predict_answers_with_one_point_for_each_prompt(weights):
    image, centres = field(), scattered((210, 300), n=20)
    settings = {"model": "small", "weights": weights, "device": "cpu", "progress": False}
    prediction = sam.predict(image, prompts=centres, **settings)
    np.testing.assert_array_equal(prediction.points, centres)
    masks = opened(image, weights).segment(centres)
    np.testing.assert_array_equal(prediction.labels, masks.labels())
    assert prediction.count == (masks.areas > 0).sum()
    assert prediction.meta["weights_sha256"] == registry.digest(weights)
    with pytest.raises(ParameterError, match=r"Session\.foreground"):
        sam.predict(image, prompts=prompts.foreground(centres, [[1, 1]]), **settings)


def test_predict_can_be_tiled_from_outside(weights):
    image, centres = field((300, 420)), scattered((300, 420), n=20)
    settings = {"model": "small", "weights": weights, "device": "cpu", "progress": False}
    parts = tiled(sam.predict, tile=256, overlap=64, context=sam.context, progress=False)
    prediction = parts(image, prompts=centres, **settings)
    assert len(prediction.points) <= 20 and prediction.labels.shape == image.shape


def test_no_prompts_and_prompts_without_points_give_no_masks(image, weights):
    session = opened(image, weights)
    assert len(session.segment(np.zeros((0, 2)))) == 0
    bare = prompts.point([[500, 500]])  # off the image: its only point is forgotten on the tile
    assert session.segment(bare).areas.tolist() == [0]


def test_the_automatic_mode_offers_three_masks_a_point_and_keeps_the_sure_ones(image, weights):
    session = opened(image, weights)
    everything = session.automatic(32, least_iou=-99, least_stability=-1, most_overlap=1.0)
    offered, stabilities = session._decoded(prompts.grid(image.shape, 32), every=True)
    assert len(offered) == 3 * 16 and len(everything) == (offered.areas > 0).sum() > 16
    assert (np.diff(everything.scores) <= 0).all()
    middle = float(np.median(offered.scores[offered.areas > 0]))
    assert (session.automatic(32, least_iou=middle, least_stability=-1, most_overlap=1.0).scores >= middle).all()
    assert ((stabilities >= 0) & (stabilities <= 1)).all()


def test_select_drops_the_weaker_of_two_masks_at_one_place():
    """Asymmetric boxes: with y and x exchanged the second pair would overlap and the first would not."""
    masks = Masks.empty((200, 200), 4)
    for i, (y, x, h, w) in enumerate([(10, 50, 60, 10), (12, 50, 60, 10), (10, 120, 10, 60), (120, 10, 10, 60)]):
        masks.put(i, np.ones((h, w), bool), score=0.9 + 0.01 * i, corner=(y, x))
    kept = decoding.select(masks, np.ones(4), least_iou=0.5, least_stability=0.5, most_overlap=0.7)
    assert kept.tolist() == [3, 2, 1]
    unstable = np.array([1, 1, 0.2, 1])
    kept = decoding.select(masks, unstable, least_iou=0.915, least_stability=0.5, most_overlap=0.7)
    assert kept.tolist() == [3]


def test_foreground_is_pasted_core_by_core(weights, monkeypatch):
    image = field((210, 300))
    session = opened(image, weights)
    asked = []

    def everywhere(network, features, transform, size, given, **settings):
        asked.append(int((given.signs != 0).sum()))
        if asked[-1]:
            yield decoding.Candidate(0, np.ones(size, bool), 1.0, 1.0)

    monkeypatch.setattr(session_module, "decode", everywhere)
    found = session.foreground(prompts.foreground([[20, 30]], [[30, 20]]))
    assert len(asked) == len(session.tiles) and 0 in asked and 2 in asked
    expected = np.zeros_like(found)
    for (_, core), n in zip(session.tiles, asked, strict=True):
        expected[core[0] : core[1], core[2] : core[3]] = n > 0
    np.testing.assert_array_equal(found, expected)


def test_the_foreground_feeds_the_baseline_in_both_polarities(image, weights, monkeypatch, tmp_path):
    from cellcount.methods import foreground
    from cellcount.types import Sample

    signs, left = [], np.zeros(image.shape, bool)
    left[:, :50] = True

    def answer(session, asked):  # what is asked for first: cells on the left, or the rest
        signs.append(int(asked.signs[0, 0]))
        return left if signs[-1] > 0 else ~left

    monkeypatch.setattr(session_module.Session, "foreground", answer)
    asked = prompts.foreground([[20, 30], [90, 10]], [[30, 100]])
    given = {"model": "small", "weights": str(weights), "progress": False}
    for wanted in ("cells", "background"):
        found = foreground.foreground(image, "sam", prompts=asked, device="cpu", wanted=wanted, **given)
        np.testing.assert_array_equal(found, left)
        sample = Sample("a", image, np.float32([[20, 30], [90, 10]]))
        out = foreground.fit(
            [sample], out=tmp_path / "a.json", name="sam", prompts={"a": asked}, wanted=wanted, **given
        )
        assert foreground.predict(image, prompts=asked, weights=out).count == pytest.approx(2, rel=1e-4)
    assert signs == [1, 1, 1, -1, -1, -1]
    with pytest.raises(ParameterError, match="prompt"):
        sam.foreground(image, prompts=np.float32([[20, 30]]))
    with pytest.raises(ParameterError, match="wanted='cell'"):
        sam.foreground(image, prompts=asked, wanted="cell", **given)


def test_bad_calls_are_refused(image, weights):
    with pytest.raises(DataError, match=r"\(H, W\) float32"):
        opened(np.stack([image] * 3), weights)
    with pytest.raises(ParameterError, match="batch=0"):
        opened(image, weights, batch=0)
    with pytest.raises(ParameterError, match="vit_x.*vit_b"):
        sam.Session(image, model="vit_x")
    with pytest.raises(ParameterError, match="weights"):
        sam.Session(image, model="vit_b", weights=weights)
    with pytest.raises(DataError, match="none.safetensors"):
        opened(image, weights.with_name("none.safetensors"))
    foreign = weights.with_name("foreign.safetensors")
    foreign.write_bytes(weights.read_bytes()[:900])
    with pytest.raises(DataError, match="foreign.safetensors"):
        opened(image, foreign)


@pytest.mark.parametrize("model", [name for name in sam.BACKBONES if name not in ("small",) and name[4] != "t"])
def test_without_weights_it_says_so_and_asks_nobody(image, model, monkeypatch):
    monkeypatch.setattr(registry.fetch, "unreachable", lambda url: pytest.fail("a request left"))
    state = sam.status(model)
    entry = backbones.entry(model)
    assert state.state == "needs weights"
    assert f"cellcount weights fetch sam-{model}" in state.detail and registry.megabytes(entry.bytes) in state.detail
    with pytest.raises(NotAvailableError, match=model):
        sam.Session(image, model=model)


def test_the_registry_knows_all_that_a_download_needs():
    entries = [backbones.entry(name) for name in sam.BACKBONES if name != "small"]
    for entry in entries:
        assert entry.url.startswith("https://") and entry.bytes > 1e7 and entry.licence and entry.citation
        assert (len(entry.sha256 or ""), len(entry.xxh128 or "")) in ((64, 0), (0, 32))
    assert len({entry.filename for entry in entries}) == len(entries) == 14


def placed(places, model, content):
    path = places / "data" / "weights" / backbones.entry(model).filename
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_that_is_not_the_registered_one_is_not_used(image, places):
    entry = backbones.entry("vit_b")
    placed(places, "vit_b", b"painted")
    assert sam.status("vit_b").state == "needs weights" and entry.filename in sam.status("vit_b").detail
    with pytest.raises(NotAvailableError, match=entry.filename):
        sam.Session(image, model="vit_b")
    placed(places, "vit_b_lm", b"painted")
    assert "XXH128" in sam.status("vit_b_lm").detail


class Harmful:
    """What a pickle may hold: it runs code when it is read."""

    def __reduce__(self):
        return (pytest.fail, ("code of a weights file was run",))


def test_no_code_of_a_weights_file_is_run(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"x": Harmful()}, path)
    with pytest.raises(DataError, match="weights.pt"):
        backbones._fill(torch.nn.Linear(1, 1), path)


def test_weights_of_a_training_run_are_unwrapped_and_others_refused(tmp_path):
    layer = torch.nn.Linear(2, 3)
    torch.save({"model_state": {f"sam.{k}": v + 1 for k, v in layer.state_dict().items()}}, tmp_path / "a.pt")
    expected = layer.weight.detach() + 1
    backbones._fill(layer, tmp_path / "a.pt")
    torch.testing.assert_close(layer.weight.detach(), expected)
    torch.save({"other": torch.zeros(1)}, tmp_path / "b.pt")
    with pytest.raises(DataError, match="b.pt"):
        backbones._fill(layer, tmp_path / "b.pt")


def test_the_method_table_knows_sam():
    assert METHODS["sam"].status().state in ("ready", "needs weights")


@pytest.mark.slow
def test_names_addresses_and_hashes_are_those_of_micro_sam():
    from micro_sam.util import models

    theirs = models()
    known = {name for name in theirs.registry if not name.endswith("_decoder")}
    assert known == set(sam.BACKBONES) - {"small"}
    for name in known:
        entry = backbones.entry(name)
        assert theirs.urls[name] == entry.url
        if entry.xxh128:
            assert theirs.registry[name] == f"xxh128:{entry.xxh128}"


@pytest.mark.slow
def test_weights_in_the_registrys_place_make_vit_b_run(places, monkeypatch):
    """A stand-in: SAM's ViT-B with random weights, and the registry told its hash."""
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    entry = backbones.entry("vit_b")
    path = places / "data" / "weights" / entry.filename
    path.parent.mkdir()
    torch.save(sam_model_registry["vit_b"]().state_dict(), path)
    digest = registry.digest(path)
    monkeypatch.setitem(registry.WEIGHTS, entry.name, replace(entry, sha256=digest))
    assert sam.status("vit_b").state == "ready"
    image = field((300, 400))
    session = sam.Session(image, model="vit_b", device="cpu", progress=False)
    assert session.loaded.digest == digest and len(session.tiles) == 1
    found = session.segment(prompts.cross(np.float32([[40, 300], [200, 90]])))
    assert len(found) == 2
    assert session.embeddings.features(session.tiles[0][0]).shape == (1, 256, 64, 64)
    again = sam.Session(image, model="vit_b", device="cpu", progress=False)
    again.segment(prompts.box(np.float32([[40, 300]])))
    assert again.embeddings.computed == 0, "the embedding comes from the cache"
    backbones._load.cache_clear()
