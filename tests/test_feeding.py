"""Batches made in the background: the same as without, their errors, their end, and the time spent waiting."""

import itertools
import logging
import threading
from functools import partial

import numpy as np
import pytest
import torch
from test_detection import scene

from cellcount.devices import deterministic, mixed_precision
from cellcount.errors import DataError
from cellcount.methods import cellnet, feeding, maskrcnn
from cellcount.methods.cellnet.crops import Crops
from cellcount.methods.cellnet.settings import Settings
from cellcount.methods.detection import loop
from cellcount.methods.detection.settings import Common
from cellcount.methods.detection.tiles import Tiles
from cellcount.methods.feeding import Feed
from cellcount.methods.maskrcnn.detector import fast_pooling, tensors

CPU = torch.device("cpu")
CELLNET = {"start": None, "widths": (8, 8), "crop": 32, "batch": 2, "device": "cpu", "progress": False}
MASKRCNN = {
    "preset": "light", "factor": 1, "box": 14.0, "tile": 64, "batch": 2, "channels": 16, "representation": 16,
    "hidden": 8, "epochs": 1, "device": "cpu", "progress": False,
}  # fmt: skip


def cellnet_batches(threads):
    crops = Crops([scene(0), scene(1)], Settings(crop=48, batch=3).filled([scene(0)]))
    rng = np.random.default_rng(0)
    places = (crops.places(rng, 3) for _ in range(7))
    return list(Feed(threads).batches(crops.batch, places))


def detector_batches(threads):
    tiles = Tiles([scene(0), scene(1)], Common(box=14.0, tile=64, augment=True), masks=True)
    places = itertools.islice(loop.batches(tiles, 3, np.random.default_rng(0)), 7)
    made = Feed(threads).batches(lambda batch: tensors([tiles.tile(place) for place in batch], CPU), places)
    return [[*images, *(part for target in targets for part in target.values())] for images, targets in made]


@pytest.mark.parametrize("batches", [cellnet_batches, detector_batches])
def test_batches_do_not_depend_on_the_number_of_threads(batches):
    alone = batches(0)
    assert len(alone) == 7 and not torch.equal(alone[0][0], alone[1][0])
    for threads in (1, 2, 4):
        for one, other in zip(alone, batches(threads), strict=True):
            assert all(torch.equal(part, same) for part, same in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "fit", [partial(cellnet.fit, steps=6, rounds=2, **CELLNET), partial(maskrcnn.fit, epoch_steps=3, **MASKRCNN)],
    ids=["cellnet, whose points are mended on the way", "maskrcnn"],
)  # fmt: skip
def test_weights_do_not_depend_on_the_number_of_threads(fit, tmp_path, monkeypatch):
    files = []
    for threads in (0, 3):
        monkeypatch.setattr(feeding.Feed.__init__, "__defaults__", (threads,))
        files.append(fit([scene(0)], out=tmp_path / f"{threads}.safetensors").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_an_error_comes_at_its_turn_and_ends_the_threads(threads):
    def make(number):
        if number == 3:
            raise DataError(f"batch {number} is damaged")
        return number

    before, seen = threading.active_count(), []
    with pytest.raises(DataError, match="batch 3 is damaged"):
        for batch in Feed(threads).batches(make, range(100)):
            seen.append(batch)
    assert seen == [0, 1, 2] and threading.active_count() == before


def background():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_an_error_in_the_background_is_that_of_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(Tiles, "tile", lambda self, place: 1 / 0)
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        maskrcnn.fit([scene(0)], out=tmp_path / "w.safetensors", epoch_steps=3, **MASKRCNN)
    assert not background() and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "fit, step",
    [
        (partial(cellnet.fit, steps=50, **CELLNET), "cellcount.methods.cellnet.training.losses.total"),
        (partial(maskrcnn.fit, epoch_steps=50, **MASKRCNN), "cellcount.methods.maskrcnn.detector.fast_pooling"),
    ],
    ids=["cellnet", "maskrcnn"],
)
def test_an_interruption_leaves_no_thread_behind(fit, step, tmp_path, monkeypatch):
    def interrupt(*_):
        assert background()
        raise KeyboardInterrupt

    monkeypatch.setattr(step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit([scene(0)], out=tmp_path / "w.safetensors")
    assert not background()


def test_the_time_spent_waiting_is_recorded(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(feeding.time, "perf_counter", lambda: now[0])

    def passes(seconds):
        now[0] += seconds

    feed = Feed(0)
    assert feed.share == 0
    for _ in range(2):  # as between two corrections of the points, which take time that is not counted
        for _ in feed.batches(passes, [3.0, 3.0]):
            passes(7.0)
        passes(100.0)
    assert (feed.waited, feed.lasted) == (12, 40) and feed.share == pytest.approx(0.3)
    with caplog.at_level(logging.INFO, "cellcount.methods.feeding"):
        feed.tell("CellNet")
    assert caplog.messages == ["CellNet: waited for batches for 30.0% of 40.0 s (threads: 0)"]
    assert (caplog.records[0].waited, caplog.records[0].lasted) == (12, 40)


def test_a_training_logs_how_long_it_waited(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "cellcount.methods.feeding"):
        cellnet.fit([scene(0)], out=tmp_path / "a.safetensors", steps=2, **CELLNET)
        maskrcnn.fit([scene(0)], out=tmp_path / "b.safetensors", epoch_steps=2, **MASKRCNN)
    assert [message.partition(":")[0] for message in caplog.messages] == ["CellNet", "Mask R-CNN"]
    assert all(0 < record.waited < record.lasted for record in caplog.records)


@pytest.mark.parametrize("cores, threads", [(1, 1), (2, 1), (3, 2), (16, 4)])
def test_threads_leave_a_core_to_the_training(cores, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
    assert Feed().threads == threads


def test_only_a_gpu_computes_in_half_precision_and_pools_in_any_order():
    x = torch.ones(2, 2)
    with mixed_precision(CPU):
        assert (x @ x).dtype == torch.float32
    with deterministic(0):
        for device, kept in ((CPU, True), (torch.device("cuda"), False)):
            with fast_pooling(device):
                assert torch.are_deterministic_algorithms_enabled() == kept
            assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
