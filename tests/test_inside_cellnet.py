"""What a chapter says of CellNet's inside is what the model and its predictions are."""

import numpy as np
import pytest

from cellcount.companion.studies import inside_cellnet
from cellcount.data import phantom
from cellcount.methods import cellnet
from cellcount.methods.cellnet.checkpoint import PHANTOM
from cellcount.methods.cellnet.network import build
from cellcount.methods.cellnet.settings import Settings
from cellcount.metrics import match

SETTINGS = Settings(**cellnet.about(PHANTOM)["settings"])


def test_layers_hold_all_weights_and_each_skip_joins_maps_of_one_shape():
    layers = inside_cellnet.layers(SETTINGS, 128)
    assert layers.parameters.sum() == sum(weights.numel() for weights in build(SETTINGS).parameters())
    assert (layers.side.iloc[0], layers.side.iloc[-1]) == (128, 128 // SETTINGS.factor)
    assert tuple(layers.channels[1:5]) == SETTINGS.widths
    for line in layers[layers.skip >= 0].itertuples():
        assert (line.channels, line.side) == tuple(layers.loc[line.skip, ["channels", "side"]])


@pytest.fixture(scope="module")
def found():
    sample = phantom.load("test", fields=1)[0].crop(0, 0, 256, 256)
    return sample, cellnet.predict(sample.image, weights=PHANTOM, threshold=0.05, device="cpu")


def test_heat_has_the_height_of_its_peaks(found):
    _, prediction = found
    heat = inside_cellnet.heat(prediction, SETTINGS)
    y, x = np.rint(prediction.points).astype(int).clip(0, 255).T
    assert heat[y, x] == pytest.approx(prediction.scores, abs=0.15)
    assert heat.max() == pytest.approx(prediction.scores.max(), rel=1e-4)


def test_threshold_curve_is_the_score_of_the_points_above(found):
    sample, prediction = found
    curve = inside_cellnet.threshold_curve([found], 10, [0.1, 0.5, 2.0])
    own = match(sample.points, prediction.points[prediction.scores >= 0.5], 10)
    assert (curve.precision[1], curve.recall[1]) == pytest.approx((own.precision, own.recall))
    assert curve.recall.is_monotonic_decreasing and curve.recall[2] == 0
