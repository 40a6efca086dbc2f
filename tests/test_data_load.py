"""`load`, `resolve`, `folds`, the valid region, and the thesis' and VGG's data where this machine has them."""

import numpy as np
import pytest

from cellcount import data, registry
from cellcount.data import thesis, valid, vgg
from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.types import Sample


def sample(name, points=((5, 5), (5, 15)), split=""):
    return Sample(name=name, image=np.zeros((10, 21), np.float32), points=points, split=split)


def has(dataset, *paths):
    """Whether CELLCOUNT_DATA (not the cache) holds these files."""
    try:
        root = registry.local_root()
    except NotAvailableError:
        return False
    return root is not None and all((root / dataset / path).is_file() for path in paths)


needs_thesis = pytest.mark.skipif(
    not has("thesis", "images/1.jpg", "images/2.jpg", "annotations/background.json", "data.csv"),
    reason="the thesis data is not in the folder named by CELLCOUNT_DATA",
)
needs_vgg = pytest.mark.skipif(
    not has("vgg-cells", "001cell.png", "001dots.png"),
    reason="the VGG cells are not in the folder named by CELLCOUNT_DATA",
)


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    """No local data, an empty cache, and no network."""
    monkeypatch.delenv("CELLCOUNT_DATA", raising=False)
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path))
    monkeypatch.setenv("CELLCOUNT_OFFLINE", "1")


def test_folds_leave_one_image_out():
    samples = [sample(str(n)) for n in range(3)] + [Sample("bare", np.zeros((4, 4), np.float32))]
    folds = data.folds(samples)
    assert [[s.name for s in test] for _, test in folds] == [["0"], ["1"], ["2"]]
    for train, test in folds:
        assert {s.name for s in train} == {"0", "1", "2"} - {test[0].name}


def test_folds_are_at_most_five_and_test_everything_once():
    folds = data.folds([sample(str(n)) for n in range(12)])
    assert len(folds) == 5
    tested = [s.name for _, test in folds for s in test]
    assert sorted(tested) == sorted(str(n) for n in range(12))
    for train, test in folds:
        assert not {s.name for s in train} & {s.name for s in test} and len(train) + len(test) == 12


def test_folds_follow_a_fixed_split():
    samples = [sample("a", split="train"), sample("b", split="test"), sample("c", split="validation")]
    [(train, test)] = data.folds(samples)
    assert [s.name for s in train] == ["a"] and [s.name for s in test] == ["b"]


def test_folds_cut_a_single_image_into_halves():
    (left, right), (right_again, _) = data.folds([sample("a")])
    assert left[0].image.shape == (10, 10) and right[0].image.shape == (10, 11)
    assert left[0].points.tolist() == [[5, 5]] and right[0].points.tolist() == [[5, 5]]
    assert right_again[0].name == right[0].name


def test_folds_need_annotation():
    with pytest.raises(DataError, match="annotated"):
        data.folds([Sample("bare", np.zeros((4, 4), np.float32))])


def test_auto_becomes_the_phantom_without_data_and_network(nothing_here):
    name, reason = data.resolve("auto")
    assert name == "phantom" and "thesis" in reason


@pytest.mark.parametrize("dataset", ["thesis", "vgg-cells"])
def test_a_data_set_that_is_not_here_gives_one_sentence(nothing_here, dataset):
    with pytest.raises(NotAvailableError, match=f"cellcount data fetch {dataset}.*CELLCOUNT_DATA") as error:
        data.load(dataset)
    assert "\n" not in str(error.value) and " MB)" in str(error.value)


def test_unknown_data_set_split_and_image(tmp_path):
    with pytest.raises(ParameterError, match="phantom"):
        data.load("thesiss")
    with pytest.raises(ParameterError, match="validation"):
        data.load("thesis", split="tset")
    with pytest.raises(ParameterError, match="35"):
        data.load("thesis", names=["35"])
    with pytest.raises(ParameterError, match="201"):
        data.load("vgg-cells", names=["201"])


def textured(shape=(200, 300), seed=0):
    """Noise of .01 around .5, with coarse texture of .1 in the left half."""
    rng = np.random.default_rng(seed)
    image = 0.5 + rng.normal(0, 0.01, shape)
    image[:, : shape[1] // 2] += valid.ndimage.gaussian_filter(rng.normal(0, 1, shape), 3)[:, : shape[1] // 2] * 1.0
    return image.astype(np.float32)


def test_background_parts_texture_from_gaps():
    found = valid.background(textured())
    assert found[:, 170:].mean() > 0.99 and found[:, :130].mean() < 0.01


def test_background_of_images_with_one_kind_of_texture():
    both = textured()
    assert not valid.background(both[:, :150]).any(), "no gap: no background"
    assert valid.background(both[:, 150:]).all(), "nothing but noise: all of it"
    assert valid.background(np.full((50, 60), 0.4, np.float32)).all()


def test_background_does_not_depend_on_illumination():
    image = textured()
    shaded = image * np.linspace(0.7, 1.2, 300, dtype=np.float32)
    assert (valid.background(image) == valid.background(shaded)).mean() > 0.98


@pytest.mark.parametrize("radius", [0.5, 3, 26])
def test_near_is_exact(radius):
    points = np.float32([[0, 0], [10.3, 20.7], [39, 58.5], [-3, 5]])
    rows, columns = np.indices((40, 60))
    expected = np.zeros((40, 60), bool)
    for y, x in points:
        expected |= (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    np.testing.assert_array_equal(valid.near(points, (40, 60), radius), expected)


def test_valid_region_without_points_is_the_background():
    image = textured()
    np.testing.assert_array_equal(valid.valid_region(image, []), valid.background(image))


@needs_thesis
def test_auto_is_the_thesis_where_it_is(monkeypatch):
    monkeypatch.setenv("CELLCOUNT_OFFLINE", "1")
    name, reason = data.resolve("auto")
    assert name == "thesis" and str(registry.local_root()) in reason


@needs_thesis
def test_thesis(monkeypatch):
    monkeypatch.setenv("CELLCOUNT_OFFLINE", "1")
    first, second = data.load("thesis", names=["1", "2"])
    assert first.image.shape == second.image.shape == (1536, 2048)
    assert (len(first.points), len(second.points)) == (1755, 1187)
    assert (len(first.dead), len(second.dead)) == (11, 11)
    assert first.boxes.shape == (941, 4) and second.boxes is None
    assert first.meta["objective"] == 20 and first.meta["flask"] == "0" and first.meta["device_count"] == 4.74e7
    assert not first.valid.all() and first.valid.mean() > 0.8

    background = valid.background(first.image)
    marked = np.rint(first.meta["background"]).astype(int)
    assert len(marked) == 156
    assert background[tuple(marked.T)].mean() > 0.8
    for sample, found in ((first, background), (second, valid.background(second.image))):
        assert found[tuple(np.rint(sample.points).astype(int).clip(0, [1535, 2047]).T)].mean() < 0.001

    centres = (first.boxes[:, :2] + first.boxes[:, 2:]) / 2
    distances = np.linalg.norm(centres[:, None] - first.points[None], axis=2).min(1)
    assert np.median(distances) < 8, "boxes and points were drawn independently, and agree"


@needs_thesis
def test_thesis_confluent_field_has_no_background():
    field = data.load("thesis", names=["10"])[0]
    assert field.points is None
    assert not valid.background(field.image).any()


@needs_thesis
def test_thesis_second_pass(monkeypatch):
    if not has("thesis", "annotations/points-plus.json"):
        pytest.skip("points-plus.json is not in the folder named by CELLCOUNT_DATA")
    assert len(thesis.points_plus().points) == 1921


@needs_thesis
def test_thesis_says_what_is_missing():
    sentences = " ".join(data.missing("thesis"))
    assert ("points2.json" in sentences) == (registry.find("thesis", thesis.POINTS) is None)


@needs_vgg
def test_vgg(monkeypatch):
    monkeypatch.setenv("CELLCOUNT_OFFLINE", "1")
    samples = vgg.load(["001", "002"])
    assert [len(s.points) for s in samples] == [135, 233]
    assert samples[0].image.shape == (256, 256) and samples[0].image.max() > 0.9
    assert samples[0].split == "train" and samples[0].valid.all()
    rows = np.rint(samples[0].points).astype(int)
    assert samples[0].image[tuple(rows.T)].mean() > 2 * samples[0].image.mean(), "the dots lie on cells"
