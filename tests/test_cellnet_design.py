"""CellNet's choices: targets, losses, mended clicks, what is taken from the data, weights to start from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import scene

from cellcount.errors import ParameterError
from cellcount.methods import cellnet, weights_files
from cellcount.methods.cellnet import losses, training
from cellcount.methods.cellnet.checkpoint import PHANTOM
from cellcount.methods.cellnet.mending import mend, typical_height
from cellcount.methods.cellnet.network import ResidualUNet
from cellcount.methods.cellnet.settings import FOLLOWING, FORMAT, FRESH, Settings
from cellcount.methods.cellnet.targets import TARGETS, heatmap, volume
from cellcount.methods.pixels import peaks
from cellcount.metrics import match
from cellcount.types import Sample

GRID = np.stack(np.meshgrid(np.arange(10, 90, 12), np.arange(10, 110, 12), indexing="ij"), -1).reshape(-1, 2) * 1.0


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_peaks_on_its_points(target):
    map_ = TARGETS[target](GRID, (100, 120), 2.5)
    assert map_.shape == (100, 120) and map_.dtype == np.float32
    found, heights = peaks(map_, threshold=0.5, distance=4)
    assert match(GRID, found, 0.5).f1 == 1
    assert heights == pytest.approx(1, abs=0.05)
    assert TARGETS[target]([], (8, 9), 2.5).max() == 0


def test_close_points_melt_in_the_sum_only():
    """Four sigma are two hills in any coding; at 1.8 sigma the sum has one peak, and the repel coding still two."""
    close = np.array([[30.0, 30.0], [30.0, 34.5]])
    number = {name: len(peaks(target(close, (60, 60), 2.5), threshold=0.5, distance=2)[0]) for name, target in
              TARGETS.items()}  # fmt: skip
    assert number == {"gaussian": 1, "peak": 2, "repel": 2}


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_every_loss_is_least_at_the_target(loss):
    target = torch.from_numpy(heatmap(GRID, (96, 96), 2.5))[None, None].clamp(max=1)
    best = target if loss == "mse" else torch.logit(target.clamp(1e-4, 1 - 1e-4))
    value = losses.LOSSES[loss](best, target).mean()
    for other in (best + 0.3, best - 0.3, torch.roll(best, 5, 3)):
        assert losses.LOSSES[loss](other, target).mean() > value
    np.testing.assert_allclose(losses.heat(best, loss), target, atol=2e-4)


def test_the_count_term_forgives_a_shift_but_not_a_missing_cell():
    settings = Settings(sigma=2.5, count_weight=1.0)
    plain = Settings(sigma=2.5)

    def cost(points):
        output, target = (torch.from_numpy(heatmap(p, (96, 96), 2.5))[None, None] for p in (points, GRID))
        trust = torch.ones_like(target)
        return float(losses.total(output, target, trust, settings) - losses.total(output, target, trust, plain))

    assert cost(GRID) == pytest.approx(0, abs=1e-6)
    assert cost(GRID[::2]) > 5 * cost(GRID + 0.3) > 0


def test_settings_follow_the_cells():
    image = np.zeros((600, 600), np.float32)
    for spacing, factor, detail in ((10, 1, 1), (25, 2, 2), (36, 3, 1), (50, 4, 2)):
        points = np.stack(np.meshgrid(*[np.arange(5, 590, spacing)] * 2), -1).reshape(-1, 2)
        filled = Settings().filled([Sample("grid", image, points)])
        assert (filled.factor, filled.detail) == (factor, detail)
        assert filled.sigma == pytest.approx(0.2 * spacing / factor, abs=0.01)
        assert 2 * filled.peak_distance < spacing / factor
    with pytest.raises(ParameterError, match="2.0 px apart"):
        Settings().filled([Sample("fine", image, np.stack(np.meshgrid(*[np.arange(0, 90, 2)] * 2), -1).reshape(-1, 2))])


def test_the_network_sees_every_pixel():
    """Detail 2: an image twice as large as its heatmap, each of whose pixels counts."""
    network = ResidualUNet((8, 8, 8), detail=2).eval()
    x = torch.randn(1, 1, 64, 96)
    y = network(x)
    assert y.shape == (1, 1, 32, 48)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        changed = x.clone()
        changed[0, 0, 32 + dy, 48 + dx] += 5
        assert (network(changed) - y).abs().max() > 1e-6


def mended(clicks, cells, heights, **params):
    """Clicks mended by a heatmap that has a hill of each height on each cell."""
    heat = sum(h * heatmap([c], (100, 120), 2.5) for h, c in zip(heights, cells, strict=True))
    settings = Settings(sigma=2.5, peak_distance=4.0, **params)
    return mend(heat, clicks, np.ones(heat.shape, bool), settings)


def test_mending_moves_a_click_to_its_hill():
    rng = np.random.default_rng(0)
    clicks = GRID + rng.uniform(-2.5, 2.5, GRID.shape)
    points, trusted = mended(clicks, GRID, np.full(len(GRID), 0.7))
    assert trusted.all() and len(points) == len(GRID)
    np.testing.assert_allclose(points, GRID, atol=0.1)


def test_mending_adds_high_hills_and_distrusts_low_ones():
    heights = np.full(len(GRID), 0.7)
    heights[3], heights[20] = 0.75, 0.4
    clicks = np.delete(GRID, [3, 20], axis=0)
    points, trusted = mended(clicks, GRID, heights)
    assert len(points) == len(GRID) - 1
    assert np.abs(points - GRID[3]).sum(axis=1).min() < 0.2
    low, elsewhere = GRID[20].astype(int), GRID[40].astype(int)
    assert not trusted[tuple(low)] and trusted[tuple(elsewhere)] and trusted[tuple(GRID[3].astype(int))]


def test_mending_keeps_a_click_without_a_hill_and_survives_an_empty_map():
    points, _ = mended(GRID, GRID[1:], np.full(len(GRID) - 1, 0.7))
    assert len(points) == len(GRID)
    settings = Settings(sigma=2.5, peak_distance=4.0)
    points, trusted = mend(np.zeros((50, 50), np.float32), GRID[:2], np.ones((50, 50), bool), settings)
    assert (points == GRID[:2]).all() and trusted.all()
    assert typical_height(np.zeros((50, 50), np.float32), np.zeros((0, 2)), 4.0) == 0


def scenes():
    return scene(0), scene(1)


SMALL = {"widths": (8, 16, 16), "crop": 64, "batch": 4, "learning_rate": 1e-2, "average": 0.9, "progress": False}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("design") / "w.safetensors"
    return cellnet.fit(scenes(), out=out, device="cpu", steps=80, **SMALL)


@pytest.mark.slow
def test_half_of_the_clicks_are_enough_with_a_threshold_from_the_heights(tmp_path, trained):
    """Hills learned from half of the clicks are half as high; the threshold follows, and rounds raise the hills."""
    half = [Sample(s.name, s.image, s.points[::2]) for s in scenes()]
    fixed = {"factor": 2, "sigma": 2.0, "peak_distance": 3.0}
    plain = cellnet.fit(half, out=tmp_path / "a.safetensors", device="cpu", steps=120, **fixed, **SMALL)
    rounds = cellnet.fit(half, out=tmp_path / "b.safetensors", device="cpu", steps=120, rounds=3, **fixed, **SMALL)
    full = cellnet.about(trained)["settings"]["threshold"]
    low, raised = (cellnet.about(path)["settings"]["threshold"] for path in (plain, rounds))
    assert low < 0.8 * full
    assert raised > 1.1 * low
    new = scene(7)
    found = cellnet.predict(new.image, weights=rounds, device="cpu").points
    assert match(new.points, found, 4).f1 > 0.85


def test_the_density_sums_up_to_the_cells_of_the_training_images(trained):
    for sample in scenes():
        prediction = cellnet.predict(sample.image, weights=trained, device="cpu", count="density")
        assert prediction.count == pytest.approx(len(sample.points), rel=0.15)
        assert prediction.density.sum() == pytest.approx(prediction.count, rel=0.02)


def test_a_target_without_density_says_so(tmp_path):
    weights = cellnet.fit(scenes()[:1], out=tmp_path / "p.safetensors", device="cpu", steps=2, target="peak", **SMALL)
    image = scenes()[0].image
    assert cellnet.predict(image, weights=weights, device="cpu").density is None
    with pytest.raises(ParameterError, match="has no density"):
        cellnet.predict(image, weights=weights, device="cpu", count="density")
    with pytest.raises(ParameterError, match="count='sum'"):
        cellnet.predict(image, weights=weights, device="cpu", count="sum")


def test_a_network_that_knows_cells_learns_more_slowly(tmp_path, trained):
    rates = {}
    for name, start in (("fresh", None), ("known", trained)):
        open_rate = SMALL | {"learning_rate": None}
        out = cellnet.fit(scenes(), out=tmp_path / name, start=start, device="cpu", steps=1, **open_rate)
        rates[name] = cellnet.about(out)["settings"]["learning_rate"]
    assert rates == {"fresh": FRESH, "known": FOLLOWING}


def test_training_goes_on_from_weights(tmp_path, trained):
    more = cellnet.fit(
        scenes(),
        out=tmp_path / "m.safetensors",
        start=trained,
        device="cpu",
        steps=4,
        **SMALL | {"learning_rate": 1e-4},
    )
    about = cellnet.about(more)
    assert len(about["start"]) == 64
    assert np.mean(about["losses"]) < 0.7 * np.mean(cellnet.about(trained)["losses"][:4])
    with pytest.raises(ParameterError, match="another shape"):
        cellnet.fit(
            scenes(), out=tmp_path / "x.safetensors", start=trained, device="cpu", steps=4,
            **SMALL | {"widths": (8, 8, 8)},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"target": "dots"}, "target='dots' is unknown; choose one of gaussian"),
        ({"loss": "l1"}, "loss='l1' is unknown"),
        ({"rounds": -1}, "rounds=-1"),
        ({"zoom": 0.5}, "zoom=0.5"),
        ({"sigma": 0}, "sigma=0 must be positive, or None"),
        ({"encoder": "resnet18", "detail": 2}, "detail=2"),
        ({"factor": 3, "detail": 2}, "divide"),
    ],
)
def test_bad_choices_are_refused(tmp_path, params, message):
    with pytest.raises(ParameterError, match=message):
        cellnet.fit(scenes()[:1], out=tmp_path / "x.safetensors", **{"progress": False, "steps": 5} | params)


def test_volume_of_a_hill():
    assert heatmap([[30, 30]], (61, 61), 3.0).sum() == pytest.approx(volume(3.0), rel=1e-3)


def test_training_starts_from_simulated_cells_where_the_network_is_theirs():
    settings = Settings().filled(scenes())
    network, start = training._network(replace(settings, factor=2, detail=2), "auto")
    known = weights_files.read(PHANTOM, FORMAT, "CellNet")[1]
    assert start == PHANTOM
    assert all(torch.equal(value, known[name].to(value)) for name, value in network.state_dict().items())
    other = replace(settings, detail=1, widths=(8, 8, 8))
    assert training._network(other, "auto")[1] is None
    assert training._network(replace(settings, factor=2, detail=2), None)[1] is None
    with pytest.raises(ParameterError, match="start=phantom: its network has another shape"):
        training._network(other, "phantom")
