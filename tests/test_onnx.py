"""CellNet through ONNX Runtime: the same cells as torch finds, without torch, and never with an old graph."""

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from scenes import scene
from scipy import ndimage
from test_data_load import has
from torch import nn

from cellcount import devices
from cellcount.cli import export as command
from cellcount.data import phantom, thesis
from cellcount.errors import CellcountError, DataError, NotAvailableError, ParameterError
from cellcount.methods import cellnet
from cellcount.methods.cellnet import graph, onnx_engine, torch_engine
from cellcount.methods.cellnet.checkpoint import PHANTOM, SHIPPED
from cellcount.methods.cellnet.network import build
from cellcount.methods.cellnet.settings import FORMAT, Settings
from cellcount.methods.pixels import brightness_and_contrast, peaks, to_full
from cellcount.metrics import match

export = importlib.import_module("cellcount.methods.cellnet.export")  # the package has a function of this name
ONNX = SHIPPED.with_suffix(".onnx")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def field():
    return phantom.simulate(seed=5, size=(260, 330)).image


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The shipped weights without an ONNX file beside them: torch computes."""
    return shutil.copy(SHIPPED, tmp_path_factory.mktemp("alone") / "shipped.safetensors")


def untrained(path, **params):
    """A weights file of random weights, whose heatmap has hills all over."""
    settings = Settings(**{"widths": (8, 8, 8), "factor": 2, "detail": 2, "sigma": 2.0, "peak_distance": 3.0,
                           "threshold": 0.5, "density_scale": 1.0} | params)  # fmt: skip
    torch.manual_seed(0)
    network = build(settings)
    network.train()(torch.randn(2, 1, 64, 64))  # batch statistics
    head = network.head if hasattr(network, "head") else network.segmentation_head[0]
    nn.init.normal_(head.weight, std=0.2)
    about = {"format": FORMAT, "settings": asdict(settings)}
    state = {name: t.half() if t.is_floating_point() else t for name, t in network.state_dict().items()}
    save_file({name: t.contiguous() for name, t in state.items()}, path, metadata={"cellcount": json.dumps(about)})
    return path, settings


def assert_same(found, expected, tolerance=1e-3):
    """Two Predictions are the same to rounding, but for the order of cells of one score."""
    assert found.count == expected.count
    matching = match(expected.points, found.points, tolerance)
    assert (matching.fp, matching.fn) == (0, 0)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def outputs(path, image):
    """Heatmap (h, w), points and scores of the graph itself."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    exposure = np.array(brightness_and_contrast(image), np.float32)
    heat, points, scores = session.run(None, {"image": image[None, None], "exposure": exposure})
    return heat[0, 0], points, scores


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (17, 33), (31, 32), (131, 330), (257, 301)])
def test_onnx_finds_what_torch_finds(field, alone, shape):
    image = field[: shape[0], : shape[1]]
    found = cellnet.predict(image, device="cpu")
    expected = cellnet.predict(image, weights=alone, device="cpu")
    assert found.meta["engine"].startswith("onnxruntime") and expected.meta["engine"].startswith("torch")
    assert {**found.meta, "engine": ""} == {**expected.meta, "engine": ""}
    assert_same(found, expected)
    np.testing.assert_allclose(found.density, expected.density, atol=1e-6)
    if min(shape) > 100:
        assert found.count > 20


def test_a_constant_image_has_no_cells_and_no_points_in_the_graph():
    image = np.full((70, 95), 0.4, np.float32)
    assert cellnet.predict(image, device="cpu").count == 0
    assert outputs(ONNX, image)[1].shape == (0, 2)


@pytest.mark.parametrize("shape", [(31, 32), (257, 301)])
def test_the_graphs_own_points_are_pythons_peaks(field, shape):
    image = field[: shape[0], : shape[1]]
    settings = onnx_engine.load(ONNX).settings
    heat, points, scores = outputs(ONNX, image)
    assert points.dtype == np.float32 and scores.min() >= graph.LOWEST
    for threshold in (graph.LOWEST, settings.threshold):
        expected, heights = peaks(heat, threshold=threshold, distance=settings.peak_distance)
        high = scores >= threshold
        matching = match(to_full(expected, settings.factor), points[high], 1e-3)
        assert (matching.fp, matching.fn) == (0, 0) and matching.tp > 0
        np.testing.assert_array_equal(np.sort(scores[high]), np.sort(heights))


@pytest.mark.parametrize(
    "params",
    [
        {"target": "peak", "loss": "bce"},
        {"target": "repel", "loss": "focal", "factor": 3, "detail": 1},
        {"factor": 4, "detail": 2, "peak_distance": 9.3},
        {"factor": 1, "detail": 1, "peak_distance": 1.5},
        pytest.param({"encoder": "resnet18", "decoder": "unetplusplus", "detail": 1}, marks=pytest.mark.slow),
    ],
    ids=lambda params: "-".join(f"{name}-{value}" for name, value in params.items()),
)
def test_every_target_loss_and_architecture_is_written(tmp_path, params):
    path, settings = untrained(tmp_path / "w.safetensors", **params)
    out = cellnet.export(path)
    image = scene(2).image[:101, :150]
    heat, points, _ = outputs(out, image)
    expected = torch_engine.TorchEngine(path, CPU).heats([image], None)[0]
    np.testing.assert_allclose(heat, expected, atol=1e-5 * max(1, expected.max()))
    hills = to_full(peaks(heat, threshold=graph.LOWEST, distance=settings.peak_distance)[0], settings.factor)
    matching = match(hills, points, 1e-3)
    assert (matching.fp, matching.fn) == (0, 0) and matching.tp > 3
    described = cellnet.about(out)
    assert Settings(**described["settings"]) == settings and described["threshold"] == settings.threshold


@pytest.mark.parametrize("distance", [0.5, 1, 1.5, 2.9, 4.01, 5, 8.7])
def test_rectangles_make_up_the_disc(distance):
    heat = np.random.default_rng(0).random((40, 50), np.float32)
    radius = int(distance)
    yy, xx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = yy**2 + xx**2 <= distance**2
    expected = ndimage.maximum_filter(heat, footprint=disc, mode="constant", cval=-1)
    found = graph._disc_maximum(torch.from_numpy(heat)[None, None], distance)[0, 0].numpy()
    np.testing.assert_array_equal(found, expected)


def test_counting_on_a_cpu_imports_no_torch(tmp_path):
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80), np.uint8)).save(tmp_path / "field.png")
    heavy = {"torch", "pandas", "matplotlib", "sklearn", "skimage"}
    code = (
        f"import sys; from cellcount import cli; code = cli.main(['count', 'field.png', '--device', 'cpu']); "
        f"print(code, sorted({heavy} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.stdout.endswith("0 []\n"), run.stdout + run.stderr
    image = json.loads((tmp_path / "counts" / "summary.json").read_text())["images"][0]
    assert image["engine"].startswith("onnxruntime")


def test_an_old_or_torn_onnx_file_is_not_used(field, tmp_path):
    weights, beside = tmp_path / "x.safetensors", tmp_path / "x.onnx"

    def engine():
        return cellnet.predict(field, weights=weights, device="cpu").meta["engine"].split()[0]

    shutil.copy(SHIPPED, weights)
    shutil.copy(ONNX, beside)
    assert engine() == "onnxruntime"
    shutil.copy(PHANTOM, weights)  # trained anew, to the same name
    assert engine() == "torch"
    shutil.copy(SHIPPED, weights)
    assert engine() == "onnxruntime"
    beside.write_bytes(ONNX.read_bytes()[:5000])
    os.utime(beside, ns=(1, 1))
    assert engine() == "torch"


def test_averaging_takes_torch(field):
    assert cellnet.predict(field, device="cpu", averaging=2).meta["engine"].startswith("torch")


def test_an_onnx_file_counts_by_itself(field, tmp_path):
    path = shutil.copy(ONNX, tmp_path / "alone.onnx")
    found, expected = (cellnet.predict(field, weights=weights, device="cpu") for weights in (path, None))
    np.testing.assert_array_equal(found.points, expected.points)
    assert found.meta == expected.meta
    for refused in ({"averaging": 2}, {"device": "cuda"}):
        with pytest.raises(ParameterError, match="alone.onnx: an ONNX file runs on a CPU and without averaging only"):
            cellnet.predict(field, weights=path, **{"device": "cpu"} | refused)
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(ONNX.read_bytes()[:5000])
    with pytest.raises(DataError, match="torn.onnx: not an ONNX file, or truncated"):
        cellnet.predict(field, weights=torn, device="cpu")
    with pytest.raises(DataError, match="No weights file"):
        cellnet.predict(field, weights=tmp_path / "none.onnx", device="cpu")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    opset = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [value], [other]), opset_imports=opset, ir_version=9
    )
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(DataError, match="foreign.onnx: an ONNX file, but not weights of CellNet"):
        cellnet.about(tmp_path / "foreign.onnx")


def test_without_torch_it_counts_and_says_what_needs_torch(field, alone, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "cellcount.methods.cellnet.torch_engine")
    monkeypatch.delitem(sys.modules, "cellcount.methods.cellnet.graph")
    assert cellnet.predict(field).count == cellnet.predict(field, device="cpu").count
    for params, what in (
        ({"averaging": 8}, "averaging=8"),
        ({"device": "cuda"}, "device='cuda'"),
        ({"weights": alone, "device": "cpu"}, "shipped.safetensors without shipped.onnx beside it"),
    ):
        with pytest.raises(NotAvailableError, match=rf"{what}.* needs torch.*\[train\]"):
            cellnet.predict(field, **params)
    with pytest.raises(NotAvailableError, match=r"Writing an ONNX file needs torch.*\[train\]"):
        cellnet.export(alone)


@pytest.mark.parametrize(
    ("hinted", "torch_says", "cpu"), [(False, "cuda", True), (True, "cuda", False), (True, "cpu", True)]
)
def test_torch_is_asked_for_a_device_only_if_there_may_be_one(monkeypatch, hinted, torch_says, cpu):
    monkeypatch.setattr(devices, "may_have_accelerator", lambda: hinted)
    monkeypatch.setattr(devices, "choose_device", lambda device: torch.device(torch_says))
    assert devices.is_cpu("auto") is cpu
    assert devices.is_cpu("cpu") and devices.is_cpu(CPU) and not devices.is_cpu("cuda")


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    path, settings = untrained(tmp_path / "w.safetensors")

    class NoCounterpart(nn.Module):
        def forward(self, x):
            return nn.functional.avg_pool2d(torch.cholesky_inverse(x), 2)

    class OneSize(nn.Module):
        def forward(self, x):
            return nn.functional.avg_pool2d(x + torch.zeros([int(side) for side in x.shape]), 2)

    for network, reason in ((NoCounterpart(), "cholesky"), (OneSize(), "Add")):
        monkeypatch.setattr(torch_engine, "read_network", lambda path, network=network: (network, settings))
        with pytest.raises(CellcountError, match=f"w.safetensors: its network .* cannot be written as ONNX .*{reason}"):
            cellnet.export(path)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ParameterError, match="must end in .onnx"):
        cellnet.export(path, tmp_path / "w.txt")


def test_the_command_writes_the_file_beside_the_weights(tmp_path, capsys):
    path, _ = untrained(tmp_path / "w.safetensors")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args([str(path)]))
    assert f"{tmp_path / 'w.onnx'}: 0." in capsys.readouterr().out
    assert (
        cellnet.about(tmp_path / "w.onnx")["weights_sha256"]
        == cellnet.predict(scene(0).image, weights=path, device="cpu").meta["weights_sha256"]
    )
    first = (tmp_path / "w.onnx").read_bytes()
    command.run(parser.parse_args([str(path), "--out", str(tmp_path / "again.onnx")]))
    assert (tmp_path / "again.onnx").read_bytes() == first


@pytest.mark.slow
def test_the_shipped_file_is_the_export_of_the_shipped_weights(tmp_path):
    again, shipped = (onnx.load(path) for path in (cellnet.export(out=tmp_path / "again.onnx"), ONNX))
    new, old = (json.loads(model.metadata_props[0].value) for model in (again, shipped))
    changed = {name for name in ("torch", "onnx") if new["versions"][name] != old["versions"][name]}
    if changed:
        pytest.skip(f"the shipped file was written with another version of {', '.join(sorted(changed))}")
    shipped.metadata_props[0].value = json.dumps(old | {"versions": new["versions"]})
    onnx.save(shipped, tmp_path / "shipped.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "shipped.onnx").read_bytes()


@pytest.mark.slow
def test_the_exporter_to_come_gives_the_same_answers(tmp_path, field):
    """`export` uses the old one, which is deprecated, since it is ten times as fast."""
    counter = graph.Counter(*torch_engine.read_network(SHIPPED)).eval()
    side = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        counter, (torch.rand(1, 1, 70, 90), torch.tensor([0.5, 0.1])), dynamo=True, verbose=False,
        input_names=["image", "exposure"], output_names=["heat", "points", "scores"],
        dynamic_shapes=({2: side, 3: side}, {}),
    )  # fmt: skip
    program.save(tmp_path / "dynamo.onnx", external_data=False)
    for image in (field[:33, :257], field):
        for found, expected in zip(outputs(tmp_path / "dynamo.onnx", image), outputs(ONNX, image), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(
    not has("thesis", *(f"images/{i}.jpg" for i in range(1, 35))),
    reason="the thesis' 34 fields are not in the folder named by CELLCOUNT_DATA",
)
def test_onnx_finds_what_torch_finds_on_the_thesis_fields(alone):
    settings = onnx_engine.load(ONNX).settings
    for sample in thesis.iterate([str(i) for i in range(1, 35)]):
        found = cellnet.predict(sample.image, device="cpu", density=False)
        assert_same(found, cellnet.predict(sample.image, weights=alone, device="cpu", density=False))
        heat, points, scores = outputs(ONNX, sample.image)
        expected = to_full(peaks(heat, threshold=settings.threshold, distance=settings.peak_distance)[0], 2)
        matching = match(expected, points[scores >= settings.threshold], 1e-3)
        assert (matching.fp, matching.fn) == (0, 0), sample.name
