"""The counting benchmarks: their protocols, folders as they are published, and the command from end to end."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scenes import scene

from cellcount import results
from cellcount.cli import main
from cellcount.companion import kept
from cellcount.companion.studies import counting_benchmarks as benchmarks
from cellcount.companion.studies.jobs import spread
from cellcount.data import vgg
from cellcount.errors import DataError, ParameterError
from cellcount.types import Sample

TINY = [part for name, value in (("steps", "3"), ("widths", "8,8"), ("crop", "32"), ("batch", "2"))
        for part in ("-p", name, value)]  # fmt: skip


def dots_of(sample, colour=(255, 255, 255)):
    dots = np.zeros((*sample.image.shape, 3), np.uint8)
    dots[tuple(np.rint(sample.points).astype(int).T)] = colour
    return Image.fromarray(dots)


def stained(sample):
    """A scene in colours as of hematoxylin: dark in red and green, less so in blue."""
    return Image.fromarray(
        (255 * np.clip(np.stack([sample.image, sample.image, 0.8 + 0.2 * sample.image], 2), 0, 1)).astype(np.uint8)
    )


def vgg_folder(folder, numbers):
    folder.mkdir()
    for number in numbers:
        sample = scene(number, shape=(64, 64), n=5)
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[..., 2] = np.clip(255 * sample.image, 0, 255)
        Image.fromarray(pixels).save(folder / f"{number:03d}cell.png")
        dots_of(sample, (255, 0, 0)).save(folder / f"{number:03d}dots.png")
    return folder


def mbm_folder(folder, count, shape=(80, 80)):
    """PNG files beside each other, the last number of an image after "dots" in the name of its dot image."""
    folder.mkdir()
    for number in range(count):
        sample = scene(number, shape=shape, n=6)
        stained(sample).save(folder / f"BM_GRAZ_HE_0001_01_{number:03d}.png")
        dots_of(sample).convert("L").save(folder / f"BM_GRAZ_HE_0001_01_dots_{number:03d}.png")
    return folder


def adi_folder(folder, count, shape=(80, 80), quality=75):
    """JPEG files of the same names in images/ and in annotations/."""
    for place in ("images", "annotations"):
        (folder / place).mkdir(parents=True)
    for number in range(count):
        sample, name = scene(number, shape=shape, n=6), f"{number}-1700_GTEX-A_Adipose-Subcutaneous.jpeg"
        stained(sample).save(folder / "images" / name, quality=90)
        dots_of(sample).save(folder / "annotations" / name, quality=quality)
    return folder


FOLDERS = {"mbm": mbm_folder, "adi": adi_folder}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_as_published(tmp_path, name):
    samples, notes = benchmarks.load(name, FOLDERS[name](tmp_path / name, 3))
    assert main(["data", "check", str(tmp_path / name)]) == 0
    assert len(samples) == 3 and {sample.split for sample in samples} == {"train"}
    for number, sample in enumerate(samples):
        true = scene(number, shape=(80, 80), n=6)
        np.testing.assert_allclose(np.sort(sample.points, 0), np.sort(np.rint(true.points), 0), atol=0.5)
        np.testing.assert_allclose(sample.image, true.image, atol=0.1)
    published = benchmarks.PROTOCOLS[name]
    assert len(notes) == 2 and f"3 images with dots are here; {published.images} were published" in notes[0]
    assert "(80 x 80); " + f"{published.size[1]} x {published.size[0]} px were published" in notes[1]


def test_a_folder_that_is_complete_needs_no_note(tmp_path, monkeypatch):
    small = replace(benchmarks.PROTOCOLS["mbm"], images=2, size=(80, 96), cells=(6, 0))
    monkeypatch.setitem(benchmarks.PROTOCOLS, "mbm", small)
    folder = mbm_folder(tmp_path / "mbm", 2, shape=(80, 96))
    assert benchmarks.load("mbm", folder)[1] == []
    monkeypatch.setitem(benchmarks.PROTOCOLS, "mbm", replace(small, cells=(12, 1)))
    said = "6 ± 0 cells in an image were found; 12 ± 1 were published. Are all dots read?"
    assert benchmarks.load("mbm", folder)[1] == [said]
    (folder / "BM_GRAZ_HE_0001_01_dots_001.png").unlink()
    samples, notes = benchmarks.load("mbm", folder)
    assert len(samples) == 1 and notes == [
        "1 images with dots are here, and 1 without dots, left out; 2 were published."
    ]


def test_what_is_wrong_with_a_folder_is_said_at_once(tmp_path, capsys):
    folder = adi_folder(tmp_path / "adi", 4)
    images, annotations = (sorted((folder / place).iterdir()) for place in ("images", "annotations"))
    images[0].unlink()
    Image.open(annotations[1]).resize((60, 60)).save(annotations[1])
    Image.new("RGB", (80, 80)).save(annotations[2])
    images[3].replace(annotations[3])  # a photograph in place of the dots
    Image.new("RGB", (80, 80), "gray").save(images[3])
    with pytest.raises(DataError) as error:
        benchmarks.load("adi", folder)
    for said in ("There is no image for this dot image", "60 x 60 px", "has no dot", "not a dot image"):
        assert said in str(error.value)
    assert main(["bench", "adi", "--data", str(folder), "--out", str(tmp_path / "adi.csv")]) == 3
    assert "There is no image for this dot image" in capsys.readouterr().err
    assert main(["data", "check", str(folder)]) != 0


def test_parts_and_missing_folders_are_refused(tmp_path):
    folder = mbm_folder(tmp_path / "mbm", 2)
    (folder / "dataset.toml").write_text('annotation = "sparse"\n')
    with pytest.raises(DataError, match="whole image annotated"):
        benchmarks.load("mbm", folder)
    with pytest.raises(ParameterError, match="X_dots_000.png"):
        benchmarks.load("mbm")
    with pytest.raises(ParameterError, match="dcc"):
        benchmarks.load("dcc", folder)
    with pytest.raises(DataError, match="no image"):
        vgg.load(folder=tmp_path)


def test_draws_of_vgg_cells(tmp_path):
    """With images above 100 they are tested, and only they; without, those that were not drawn."""
    both = vgg_folder(tmp_path / "both", [1, 2, 3, 4, 101, 102])
    samples, notes = benchmarks.load("vgg", both)
    assert len(notes) == 2 and not any("not the usual protocol" in note for note in notes)
    train, test = benchmarks.draws(samples, 3, seed=0)
    assert {s.split for s in train} == {"train"} and [s.name for s in test] == ["101", "102"]
    assert len({s.name for seed in range(20) for s in benchmarks.draws(samples, 3, seed)[0]}) == 4
    inside, notes = benchmarks.load("vgg", vgg_folder(tmp_path / "inside", [1, 2, 3, 4]))
    assert any("not the usual protocol" in note for note in notes)
    train, test = benchmarks.draws(inside, 3, seed=0)
    assert len(test) == 1 and not {s.name for s in train} & {s.name for s in test}
    with pytest.raises(DataError, match="4"):
        benchmarks.draws(inside, 4, seed=0)


def named(numbers, split="train"):
    return [Sample(name, np.zeros((16, 16), np.float32), np.zeros((0, 2)), split=split) for name in numbers]


def test_draws_of_mbm_test_all_others():
    samples = named(map(str, range(44)))
    parts = [benchmarks.draws(samples, 15, seed) for seed in range(5)]
    for train, test in parts:
        assert len(train) == 15 and {s.name for s in train} | {s.name for s in test} == set(map(str, range(44)))
        assert len(test) == 29
    assert len({tuple(s.name for s in train) for train, _ in parts}) == 5


@pytest.mark.parametrize(("train", "ending"), [(32, ""), (50, ""), (32, "-standard"), (50, "-standard"), (50, "-cpu")])
def test_kept_rows_are_of_this_protocol(train, ending):
    """Draws, test images and settings of the rows in results/ are those of the command as it is now."""
    frame = spread(results.read(kept.file(f"vgg-{train}{ending}.csv")))
    samples = named(vgg.NAMES[:100]) + (named(vgg.NAMES[100:], "test") if ending == "-standard" else [])
    draws, own = ([0, 1], {"steps": 1000}) if ending == "-cpu" else ([0, 1, 2, 3, 4], {})
    assert sorted(frame.draw.unique()) == draws and (frame.train == train).all()
    for draw, rows in frame.groupby("draw"):
        assert set(rows.image) == {sample.name for sample in benchmarks.draws(samples, train, draw)[1]}
    assert all(settings == benchmarks.SETTINGS | own for settings in frame.settings)
    assert {json.dumps({k: json.loads(p)[k] for k in benchmarks.ASKED}) for p in frame.parameters} == {
        json.dumps(benchmarks.ASKED)
    }
    assert benchmarks.table(frame).draws.tolist() == [len(draws)]


def test_a_cpu_reproduces_the_kept_error_within_its_spread():
    """The mean over the draws that were run again, with a third of the steps, and those of the kept rows."""
    before, again = (
        benchmarks.table(spread(results.read(kept.file(f"vgg-50{ending}.csv")))).iloc[0] for ending in ("", "-cpu")
    )
    assert abs(again.mae - before.mae) < before.sd


def test_rows_of_other_test_images_are_not_taken_for_these(tmp_path, monkeypatch):
    """A file of draws inside 001-100 does not answer for 101-200: the job has the same name."""
    frame = results.read(kept.file("vgg-50.csv"))
    results.write(frame, tmp_path / "vgg.csv")
    samples = named(vgg.NAMES[:100])
    again = benchmarks.bench(samples, train=50, draws_n=5, out=tmp_path / "vgg.csv", device="cpu")
    assert len(again) == len(frame)
    with pytest.raises(DataError, match="other test images"):
        benchmarks.bench(
            samples + named(vgg.NAMES[100:], "test"), train=50, draws_n=5, out=tmp_path / "vgg.csv", device="cpu"
        )


def test_table_is_the_mean_over_draws():
    frame = pd.DataFrame(
        {"reading": "whole", "part": "all", "train": 50, "draw": [0, 0, 1, 1], "n_true": 100}
        | {"count": [101, 99, 106, 106], "n_pred": [90, 90, 90, 90]}
    )
    line = benchmarks.table(frame).iloc[0]
    assert line.mae == pytest.approx(3.5) and line.sd == pytest.approx(5 / np.sqrt(2))
    assert line.bias == pytest.approx(3.0) and line.mae_peaks == 10 and line.images == 2


def test_the_command_knows_every_protocol():
    from cellcount.cli.bench import BENCHMARKS

    assert {name: train for name, (*_, train) in BENCHMARKS.items()} == {
        name: one.train for name, one in benchmarks.PROTOCOLS.items()
    }
    assert [one.record[2] for one in benchmarks.PROTOCOLS.values()] == [2.3, 5.83, 7.71]
    assert benchmarks.protocols()["N"].tolist() == [50, 15, 50]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg", *FOLDERS])
def test_bench_from_end_to_end(tmp_path, capsys, name):
    folder, out = tmp_path / name, tmp_path / "rows.csv"
    FOLDERS[name](folder, 5) if name in FOLDERS else vgg_folder(folder, [1, 2, 3, 4, 101, 102])
    command = ["bench", name, "--data", str(folder), "--train", "3", "--draws", "2", "--out", str(out)]
    assert main([*command, "--device", "cpu", *TINY]) == 0
    said = capsys.readouterr()
    assert "mae" in said.out and "Lowest published" in said.out and "were published" in said.err
    frame = results.read(out)
    assert sorted(frame.seed.unique()) == [0, 1] and frame.groupby("seed").image.nunique().tolist() == [2, 2]
    assert np.isfinite(frame[frame.reading == "whole"]["count"]).all() and (frame.n_true >= 5).all()


@pytest.mark.slow
def test_a_small_network_learns_to_count_stained_cells(tmp_path):
    """200 steps on an MBM-like folder: the error is far below that of the mean count of the training images."""
    folder = tmp_path / "mbm"
    folder.mkdir()
    for number in range(8):
        sample = scene(number, shape=(96, 96), n=4 + 2 * (number % 4))
        stained(sample).save(folder / f"a_{number:03d}.png")
        dots_of(sample).save(folder / f"a_dots_{number:03d}.png")
    samples, _ = benchmarks.load("mbm", folder)
    small = {"steps": 200, "widths": [8, 16], "batch": 4, "factor": 2, "crop": 32}
    frame = benchmarks.bench(
        samples, protocol="mbm", train=4, draws_n=1, out=tmp_path / "rows.csv", device="cpu", progress=False, **small
    )
    line = benchmarks.table(frame).iloc[0]
    spread_of_counts = frame.drop_duplicates("image").n_true
    assert line.mae < 0.5 * (spread_of_counts - spread_of_counts.mean()).abs().mean()
