"""NuclePhaser: its weights are read as data, from a package that nobody imports."""

import importlib
import shutil
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import stand_ins
import torch
from scenes import scene
from torch import nn

from cellcount import data, registry
from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.methods import nuclephaser
from cellcount.methods.nuclephaser import network
from cellcount.metrics import match

ENTRY = "nuclephaser-ND_v11n"
COUNTS = {"ND_v11n": 199, "ND_v11s": 235, "ND_v5n": 238, "ND_v5s": 241}  # of a field of 216 cells, measured
INSIDE = "napari_nuclephaser/models/ND_v11n.pt"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return stand_ins.nuclephaser(tmp_path_factory.mktemp("net") / "ND_v11n.pt")


@pytest.fixture
def known(file, monkeypatch):
    """The stand-in's file, as if the registry had it."""
    monkeypatch.setitem(registry.WEIGHTS, ENTRY, stand_ins.known_as(ENTRY, file))
    return file


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Neither a folder of weights nor the package."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("CELLCOUNT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CELLCOUNT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if "nuclephaser" not in folder])


def test_without_weights_it_says_how_to_get_them(nowhere):
    if importlib.util.find_spec("napari_nuclephaser"):
        pytest.skip("the package is installed here")
    status = nuclephaser.status()
    assert status.state == "needs weights" and "pip install --no-deps napari-nuclephaser==0.5.0" in status.detail
    with pytest.raises(NotAvailableError, match="pip install --no-deps napari-nuclephaser==0.5.0"):
        nuclephaser.predict(np.zeros((40, 40), np.float32), device="cpu")


def test_weights_are_found_in_a_package_that_cannot_be_imported(known, nowhere, tmp_path, monkeypatch):
    models = tmp_path / "site" / "napari_nuclephaser" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").write_text("raise ImportError('sahi')")
    shutil.copy(known, models)
    monkeypatch.syspath_prepend(tmp_path / "site")
    sample = scene(3)
    assert match(sample.points, nuclephaser.predict(sample.image, device="cpu").points, 4).f1 > 0.9
    status = nuclephaser.status()
    assert status.state == "ready" and "AGPL-3.0" in status.detail and "napari_nuclephaser" not in sys.modules


def test_weights_are_read_from_a_wheel(known, tmp_path):
    wheel = tmp_path / "napari_nuclephaser-0.5.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(known, INSIDE)
    image = scene(3).image
    there, here = (nuclephaser.predict(image, device="cpu", weights=path) for path in (wheel, known))
    np.testing.assert_array_equal(there.points, here.points)
    assert there.meta["weights_sha256"] == registry.WEIGHTS[ENTRY].sha256
    with pytest.raises(DataError, match="no wheel with ND_v5n.pt"):
        nuclephaser.predict(image, device="cpu", weights=wheel, network="ND_v5n")
    wheel.write_bytes(b"no archive")
    with pytest.raises(DataError, match="no wheel with ND_v11n.pt"):
        nuclephaser.predict(image, device="cpu", weights=wheel)


def test_other_weights_than_the_registered_ones_are_refused(file, tmp_path):
    image, other = np.zeros((40, 40), np.float32), shutil.copy(file, tmp_path)
    with pytest.raises(DataError, match=r"not the registered weights of ND_v11n .*Give ND_v11n.pt"):
        nuclephaser.predict(image, device="cpu", weights=other)
    with pytest.raises(DataError, match="No weights file"):
        nuclephaser.predict(image, device="cpu", weights=tmp_path / "none.pt")


@pytest.mark.parametrize(
    "bad", [{"network": "ND_v8n"}, {"scale": 0}, {"threshold": -0.1}], ids=lambda bad: next(iter(bad))
)
def test_what_is_out_of_range_is_refused(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        nuclephaser.predict(np.zeros((40, 40), np.float32), device="cpu", **bad)


@pytest.mark.parametrize("scale", [0.3, 0.75, 1.0, 2.7])
def test_points_do_not_shift_with_the_scale(known, monkeypatch, scale):
    """A pixel's centre lies at half its width at every scale; half a pixel's mistake would show."""
    y, x, shape = 60.2, 41.7, (120, 100)

    def drawn(layers, image, threshold):
        zoom = np.divide(image.shape[2:], shape)
        return np.float32([[*(np.array([y, x]) + 0.5) * zoom, 9, 9, 0.8]])

    monkeypatch.setattr(nuclephaser, "_detected", drawn)
    found = nuclephaser.predict(np.zeros(shape, np.float32), device="cpu", weights=known, scale=scale)
    np.testing.assert_allclose(found.points, [[y, x]], atol=1e-4)


def test_a_cell_that_two_tiles_see_is_found_once(known):
    image = np.full((60, 900), 0.6, np.float32)
    xs = np.arange(30, 880, 40)
    yy, xx = np.indices(image.shape)
    for x in xs:
        image -= np.float32(0.3) * np.exp(-((yy - 30) ** 2 + (xx - x) ** 2) / 24).astype(np.float32)
    found = nuclephaser.predict(image, device="cpu", weights=known, scale=1.0)
    assert len(nuclephaser._starts(900)) == 2 and len(found.points) == len(xs)
    np.testing.assert_allclose(np.sort(found.points[:, 1]), xs, atol=2)


def test_tiles_cover_a_side_and_overlap():
    for side in (1, 640, 641, 1152, 1153, 3000):
        starts = np.array(nuclephaser._starts(side))
        assert starts[0] == 0 and starts[-1] + 640 >= side and (np.diff(starts) <= 512).all()
        assert side < 640 or starts[-1] + 640 == side


def test_of_boxes_that_share_a_third_of_the_smaller_the_surest_remains():
    large, inside, beside = [50, 50, 40, 40, 0.5], [50, 50, 10, 10, 0.9], [50, 83, 40, 40, 0.4]
    apart = [50, 78, 40, 40, 0.3]  # 12 of 40 px are shared with the large one
    kept = nuclephaser.distinct(np.float32([large, inside, beside]))
    np.testing.assert_array_equal(kept, np.float32([inside, beside]))
    kept = nuclephaser.distinct(np.float32([large, apart, [50, 75, 40, 40, 0.2]]))  # 15 of 40 px
    np.testing.assert_array_equal(kept, np.float32([large, apart]))
    assert nuclephaser.distinct(np.zeros((0, 5), np.float32)).shape == (0, 5)


def test_boxes_of_the_fifth_version_are_anchors_moved_and_stretched():
    """Ultralytics' description of YOLOv5: centre 2 s(t) - .5 + the pixel, size (2 s(t))^2 of the anchor."""
    answer = torch.zeros(1, 7, 2, 3)
    answer[0, :, 1, 2] = torch.logit(torch.tensor([0.7, 0.4, 0.6, 0.5, 0.9, 0.2, 0.8]))
    head = SimpleNamespace(
        stride=torch.tensor([8.0]), m=[nn.Identity()], na=1, no=7, anchors=torch.tensor([[[1.5, 2.0]]])
    )
    boxes = network._detect_5(head, [answer])
    y, x = 8 * (2 * 0.4 - 0.5 + 1), 8 * (2 * 0.7 - 0.5 + 2)
    height, width = 8 * 2.0 * (2 * 0.5) ** 2, 8 * 1.5 * (2 * 0.6) ** 2
    np.testing.assert_allclose(boxes[5], [y, x, height, width, 0.9 * 0.8], rtol=1e-5)


def test_boxes_of_the_eleventh_version_are_distances_to_their_sides():
    bins = nn.Conv2d(4, 1, 1, bias=False)
    bins.weight.data = torch.arange(4.0).view(1, 4, 1, 1)
    dfl = SimpleNamespace(conv=bins, c1=4)
    answer = torch.zeros(1, 16, 1, 2)
    for side, distance in enumerate((0, 1, 2, 3)):  # left, top, right, bottom
        answer[0, 4 * side + distance, 0, 1] = 60
    head = SimpleNamespace(
        stride=torch.tensor([8.0]), dfl=lambda x: network._distances(dfl, x), cv2=[nn.Identity()],
        cv3=[lambda x: torch.logit(torch.full((1, 2, 1, 2), 0.25) * torch.tensor([1, 2]).view(1, 2, 1, 1))],
    )  # fmt: skip
    with torch.no_grad():
        boxes = network._detect_11(head, [answer])
    np.testing.assert_allclose(boxes[1], [4 + 8, 12 + 8, 32, 16, 0.5], rtol=1e-5)


def test_attention_is_the_weighted_mean_of_the_values():
    heads, key, value, side = 2, 3, 4, (2, 5)
    torch.manual_seed(0)
    qkv = torch.randn(1, heads * (2 * key + value), *side)
    layer = SimpleNamespace(
        num_heads=heads, key_dim=key, head_dim=value, scale=key**-0.5, qkv=lambda x: qkv, proj=nn.Identity(),
        pe=torch.zeros_like,
    )  # fmt: skip
    found = network._attention(layer, torch.zeros(1, heads * value, *side))
    for head, part in enumerate(qkv.view(heads, 2 * key + value, -1)):
        q, k, v = part[:key], part[key : 2 * key], part[2 * key :]
        weights = (q.T @ k * key**-0.5).softmax(1)
        torch.testing.assert_close(found.view(heads, value, -1)[head], (weights @ v.T).T)


@pytest.mark.slow
@pytest.mark.network
def test_the_published_networks_find_the_cells_of_a_simulated_field(tmp_path):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "napari-nuclephaser==0.5.0"]
    subprocess.run([*command, "--dest", tmp_path], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    sample = data.load("phantom", split="test", fields=1)[0]
    for name, count in COUNTS.items():
        found = nuclephaser.predict(sample.image, device="cpu", weights=wheel, network=name)
        assert found.count == pytest.approx(count, abs=2), name
        assert match(sample.points, found.points, 12).f1 > 0.75, name
