"""What only a GPU can show: that it gives the same answers as the CPU (`make gpu`)."""

import numpy as np
import pytest
import torch

from cellcount.data import phantom
from cellcount.methods import METHODS, maskrcnn, prompts
from cellcount.methods.cellnet.crops import Crops
from cellcount.methods.cellnet.settings import Settings
from cellcount.methods.detection.tiles import Tiles
from cellcount.methods.maskrcnn import detector
from cellcount.metrics import match

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU, and this machine has none"),
]


@pytest.fixture(scope="module")
def fields():
    return phantom.load(split="test", fields=2, size=(256, 256))


def test_cellnet_finds_the_same_cells_on_both_devices(fields):
    cellnet = METHODS["cellnet"]
    for field in fields:
        cpu, gpu = (cellnet.predict(field.image, device=device) for device in ("cpu", "cuda"))
        # Half precision changes a heatmap by up to 1e-3, which moves a flat peak by less than a pixel of it: 2 px here.
        assert match(cpu.points, gpu.points, tolerance=2).f1 > 0.99
        assert gpu.count == pytest.approx(cpu.count, rel=0.01)


def test_a_batch_gives_what_single_images_give(fields):
    cellnet = METHODS["cellnet"]
    together = cellnet.predict_batch([field.image for field in fields], device="cuda")
    for field, batched in zip(fields, together, strict=True):
        alone = cellnet.predict(field.image, device="cuda")
        assert match(alone.points, batched.points, tolerance=0.5).f1 > 0.99


def test_training_crops_are_those_of_the_cpu(fields):
    settings = Settings(crop=96).filled(fields)
    batches = []
    for device in ("cpu", "cuda"):
        crops = Crops(fields, settings, torch.device(device))
        places = sorted((crops._place(np.random.default_rng(k)) for k in range(16)), key=lambda place: place.image)
        parts = [crops._together(places)] if device == "cuda" else [crops._cut(place) for place in places]
        batches.append([torch.cat(part).cpu() for part in zip(*parts, strict=True)])
    for cpu, gpu in zip(*batches, strict=True):
        assert torch.isclose(cpu, gpu, atol=2e-3).float().mean() > 0.999  # between two pixels, either may be nearest


def test_training_twice_on_a_gpu_gives_the_same_weights(fields, tmp_path):
    cellnet = METHODS["cellnet"]
    for name in ("a", "b"):
        out = tmp_path / f"{name}.safetensors"
        cellnet.fit(fields, out=out, device="cuda", progress=False, steps=3, batch=2, crop=96)
    from safetensors.torch import load_file

    first, second = (load_file(tmp_path / f"{name}.safetensors") for name in "ab")
    assert all(torch.equal(first[key], second[key]) for key in first)


TRAININGS = {
    # name: parameters of a training, and relative tolerances of its first losses and of its last. Convolutions in
    # bfloat16 change a loss by up to 1 %. Mask R-CNN draws, on each device, other boxes to learn from, and YOLOX
    # assigns boxes to places by overlaps, which rounding changes.
    "cellnet": ({"start": None, "steps": 60, "crop": 96, "batch": 4, "learning_rate": 1e-2}, 0.02, 0.15),
    "maskrcnn": ({"preset": "light", "batch": 4, "epochs": 1, "epoch_steps": 30}, 0.10, 0.30),
    "yolox": ({"preset": "light", "batch": 4, "epochs": 1, "epoch_steps": 40}, 0.05, 0.20),
    "cellpose": (
        {"masks": "true", "widths": (8, 16, 32, 256), "tile": 256, "epochs": 40, "size_epochs": 1},
        0.02,
        0.15,
    ),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_on_a_gpu_learns_what_it_learns_on_the_cpu(name, fields, tmp_path):
    params, close, near = TRAININGS[name]
    losses, method = {}, METHODS[name]
    for device in ("cpu", "cuda"):
        out = method.fit(fields, out=tmp_path / f"{device}.safetensors", device=device, progress=False, **params)
        about = method.about(out)
        losses[device] = np.array(about.get("losses") or about["curves"]["loss"])
    cpu, gpu = losses["cpu"], losses["cuda"]
    assert len(cpu) == len(gpu) and np.isfinite(gpu).all()
    assert gpu[-5:].mean() < 0.8 * gpu[:3].mean()
    assert gpu[:3].mean() == pytest.approx(cpu[:3].mean(), rel=close)
    assert gpu[-5:].mean() == pytest.approx(cpu[-5:].mean(), rel=near)


def test_masks_are_drawn_on_the_gpu(fields):
    tiles = Tiles(fields, maskrcnn.Settings.of({"preset": "light"}), masks=True)
    tile = tiles.tile(next(tiles.epoch(np.random.default_rng(0))))
    (cpu,), (gpu,) = (detector.tensors([tile], torch.device(device))[1] for device in ("cpu", "cuda"))
    assert cpu["masks"].any() and all(torch.equal(part, gpu[name].cpu()) for name, part in cpu.items())


def test_small_sam_gives_the_same_masks_on_both_devices(fields):
    field = fields[0]
    asked = prompts.point(field.points)
    cpu, gpu = (METHODS["sam"].predict(field.image, prompts=asked, device=d, model="small") for d in ("cpu", "cuda"))
    assert np.mean((cpu.labels > 0) == (gpu.labels > 0)) > 0.995
