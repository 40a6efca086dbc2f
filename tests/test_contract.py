"""One contract for every method: each row of METHODS is called in all the ways that a user may call it."""

from typing import NamedTuple

import numpy as np
import pytest
import stand_ins
from scenes import masks_scene, scene

import cellcount
from cellcount import registry
from cellcount.counting import train
from cellcount.data import phantom
from cellcount.errors import DataError, ParameterError
from cellcount.methods import METHODS, base, prompts
from cellcount.metrics import match
from cellcount.tiling import tiled
from cellcount.types import Prediction

SHAPE, TILE, OVERLAP = (240, 290), 160, 48


class Case(NamedTuple):
    """How a method is tried: on which scene, trained with which settings, and how well tiled and plain agree (F1)."""

    sample: object = lambda: phantom.simulate(seed=1, size=SHAPE)
    training: dict | None = None
    params: dict = {}
    agreement: float = 0.97
    slow: bool = False
    stand_in: str = ""  # weights of the registry, in whose place a file of `stand_ins` is put


BOXES = {
    "preset": "light", "factor": 1, "box": 14.0, "least": 7.0, "tile": 64, "batch": 4, "epochs": 1, "average": 0.9,
    "epoch_steps": 60,
}  # fmt: skip


def discs():
    return masks_scene(7, shape=SHAPE, n=45)


def dots():
    return scene(7, shape=SHAPE, n=45)


CASES = {
    "cellnet": Case(agreement=0.95),  # which sees farther than these tiles overlap
    "blobs": Case(),
    "cellpose": Case(
        discs, {"widths": (8, 16, 32, 256), "crop": 64, "batch": 4, "tile": 160, "size_epochs": 1, "size_crop": 96,
                "masks": "true", "epochs": 50}, slow=True, agreement=0.9,
    ),
    "stardist": Case(
        discs, {"filters": 8, "depth": 2, "patch": 64, "rays": 16, "tile": 96, "masks": "true", "steps": 150,
                "learning_rate": 3e-3}, slow=True, agreement=0.95,
    ),
    "deepsea": Case(slow=True, agreement=0.85),
    "nuclephaser": Case(dots, agreement=0.9, stand_in="nuclephaser-ND_v11n"),
    "laplacian": Case(),
    "tophat": Case(),
    "bandpass": Case(agreement=0.9),  # a Fourier transform sees where its image ends
    "symmetry": Case(agreement=0.9),
    "clusters": Case(),
    "watershed": Case(agreement=0.9),
    "foreground-area": Case(),
    "maskrcnn": Case(
        dots, BOXES | {"channels": 32, "representation": 64, "hidden": 16}, slow=True, agreement=0.95
    ),
    "yolox": Case(dots, BOXES | {"width": 0.125, "learning_rate": 5e-3, "epoch_steps": 100}, slow=True, agreement=0.95),
    "sam": Case(params={"model": "small", "progress": False}, slow=True),
    "prompted-watershed": Case(),
}  # fmt: skip


class Tried(NamedTuple):
    """A method that is ready to be called."""

    name: str
    method: object
    sample: object
    params: dict
    prompts: np.ndarray | None  # where it must have some
    agreement: float


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] * case.slow, id=name) for name, case in CASES.items()],
)
def tried(request, tmp_path_factory):
    case, method = CASES[request.param], METHODS[request.param]
    params = {"device": "cpu"} | case.params
    if case.training is not None:
        make = masks_scene if case.sample is discs else scene
        samples = [make(seed, shape=(192, 192), n=30) for seed in (0, 1)]
        out = tmp_path_factory.mktemp(request.param) / f"weights{getattr(method, 'SUFFIX', '.safetensors')}"
        train(samples, out=out, method=request.param, device=params["device"], **case.training)  # progress, too
        params["weights"] = out
    with pytest.MonkeyPatch.context() as patch:
        if case.stand_in:
            params["weights"] = getattr(stand_ins, request.param)(tmp_path_factory.mktemp(request.param) / "net.pt")
            patch.setitem(registry.WEIGHTS, case.stand_in, stand_ins.known_as(case.stand_in, params["weights"]))
        yield _tried(request.param, method, case, params)


def _tried(name, method, case, params):
    sample = case.sample()
    needed = sample.points if method.predict.prompts == "required" else None
    return Tried(name, method, sample, params, needed, case.agreement)


def call(tried, image, **more):
    return tried.method.predict(image, **{"prompts": tried.prompts} | tried.params | more)


def call_tiled(tried, image, **more):
    predict = tiled(tried.method.predict, tile=TILE, overlap=OVERLAP, context=tried.method.context, progress=False)
    return predict(image, **{"prompts": tried.prompts} | tried.params | more)


def check(prediction, shape):
    """What every answer promises."""
    assert isinstance(prediction, Prediction) and isinstance(prediction.count, float)
    assert prediction.points.dtype == prediction.scores.dtype == np.float32
    assert (prediction.points > -1).all() and (prediction.points < np.array(shape)).all()
    assert {"method", "device"} <= prediction.meta.keys()
    if prediction.labels is not None:
        assert prediction.labels.shape == shape and prediction.labels.dtype == np.int32
        assert prediction.labels.max(initial=0) <= len(prediction.points)
    if prediction.density is not None:
        assert prediction.density.shape == shape and prediction.density.dtype == np.float32
    if prediction.count_interval is not None:
        low, high = prediction.count_interval
        assert low <= prediction.count <= high


def own_masks(prediction):
    """Share of the points that lie on their own mask."""
    at = np.rint(prediction.points).astype(int)
    own = prediction.labels[tuple(at.T)] == np.arange(1, len(at) + 1)
    return own.mean() if len(own) else 1.0


def test_every_method_has_a_case():
    assert set(CASES) == set(METHODS)


def test_plain_and_tiled_agree(tried):
    image = tried.sample.image
    whole, parts = call(tried, image), call_tiled(tried, image)
    check(whole, image.shape)
    check(parts, image.shape)
    assert match(whole.points, parts.points, 3).f1 >= tried.agreement
    assert parts.count == pytest.approx(whole.count, rel=2 * (1 - tried.agreement) + 1e-6)
    for part in ("labels", "density", "count_interval"):
        assert (getattr(whole, part) is None) == (getattr(parts, part) is None), part
    if whole.labels is not None:
        assert ((whole.labels > 0) == (parts.labels > 0)).mean() > 0.95
        assert own_masks(parts) >= own_masks(whole) - 0.1
    if whole.density is not None:
        assert parts.density.sum() == pytest.approx(whole.density.sum(), rel=0.1)
        np.testing.assert_allclose(parts.meta["density_sum"], parts.density.sum(dtype=float), rtol=1e-5)


def test_the_count_path_of_users_takes_it(tried):
    as_it_is = {"cell_width": None}  # not resampled
    result = cellcount.count(tried.sample.image, method=tried.name, prompts=tried.prompts, **tried.params, **as_it_is)
    assert result.count == call(tried, tried.sample.image).count
    assert list(result.to_frame().columns) == ["image", "y_px", "x_px", "score"]
    if result.interval is not None and hasattr(tried.method, "interval"):  # of the whole count
        assert result.interval == tried.method.interval(result.count, **tried.params)


def test_a_threshold_is_obeyed_or_refused_with_the_parameters_that_there_are(tried):
    image, known = tried.sample.image, base.parameters(tried.method.predict)
    if "threshold" in known:
        found = call(tried, image)
        middle = float(np.median(found.scores))
        fewer = call(tried, image, threshold=middle)
        assert 0 < len(fewer.points) < len(found.points) and fewer.scores.min() >= middle - 1e-6
        assert match(fewer.points, call_tiled(tried, image, threshold=middle).points, 3).f1 >= tried.agreement - 0.07
    else:
        for predict in (call, call_tiled):
            with pytest.raises(ParameterError, match="threshold") as caught:
                predict(tried, image, threshold=0.3)
            assert all(name in str(caught.value) for name in known if name not in base.CONTEXT)


def test_an_argument_that_it_does_not_have_is_refused_before_anything_is_read(tried, tmp_path):
    missing = tmp_path / "not-there.png"
    with pytest.raises(ParameterError, match="no parameter wavelenght"):
        cellcount.count(missing, method=tried.name, prompts=tried.prompts, wavelenght=3, **tried.params)
    if hasattr(tried.method, "fit"):
        with pytest.raises(ParameterError, match="no parameter wavelenght"):
            tried.method.fit([tried.sample], out=tmp_path / "x", device="cpu", wavelenght=3)


def test_prompts_are_answered_in_their_order_or_refused(tried):
    image, centres = tried.sample.image, tried.sample.points
    if tried.method.predict.prompts == "none":
        for predict in (call, call_tiled):
            with pytest.raises(ParameterError, match="no prompts"):
                predict(tried, image, prompts=centres)
        return
    if tried.name == "foreground-area":  # its bundled foreground takes none; one by SAM does (tests/test_foreground.py)
        with pytest.raises(ParameterError, match="no prompts"):
            call(tried, image, prompts=centres)
        return
    beyond = np.float32([[-500, -500]])  # nothing is there, so that there are fewer masks than points
    for given in (np.concatenate([centres, beyond]), prompts.neighbours(np.concatenate([centres, beyond]))):
        whole, parts = call(tried, image, prompts=given), call_tiled(tried, image, prompts=given)
        np.testing.assert_allclose(parts.points, whole.points, atol=1e-3)
        np.testing.assert_allclose(whole.points[:-1], centres, atol=1e-3)
        assert whole.count == parts.count <= len(centres)
        same = (whole.labels == parts.labels)[(whole.labels > 0) & (parts.labels > 0)].mean()
        assert same > 0.75, "mask i belongs to prompt i, plain and tiled"  # SAM looks from elsewhere at the borders
    nothing = call_tiled(tried, image, prompts=np.zeros((0, 2), np.float32))
    assert nothing.count == 0 and nothing.points.shape == (0, 2)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), SHAPE], ids=str)
def test_an_image_with_nothing_on_it(tried, shape):
    image = np.full(shape, 0.5, np.float32)
    needed = None if tried.prompts is None else np.float32([[shape[0] // 2, shape[1] // 2]])
    for predict in (call, call_tiled):
        check(predict(tried, image, prompts=needed), shape)


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8)), np.zeros((8, 8, 3), np.float32), np.zeros((0, 5), np.float32), [[0.5]]],
    ids=["float64", "RGB", "empty", "list"],
)  # fmt: skip
def test_what_is_no_gray_image_is_refused(tried, image):
    with pytest.raises(DataError, match="float32"):
        call(tried, image)


def test_status_and_context(tried):
    status = tried.method.status()
    assert status.state in ("ready", "needs weights", "needs package") and status.detail
    assert isinstance(tried.method.context(tried.sample.image, **tried.params), dict)
