"""Sheets of false points on the thesis' images, for a person to judge: 24 of each kind, drawn at random.

    python workflow/judge.py FOLDER_WITH_FOLDS OUT

FOLDER_WITH_FOLDS holds the networks that `06-cellnet` trained on the thesis' images (`make results` leaves them in
build/results/thesis/06-cellnet). OUT gets a picture for each image and reading, and points.csv, to which the person
adds the column `verdict`. The pictures show the thesis' images: keep OUT outside of the repository, or in build/.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from cellcount import data, metrics
from cellcount.methods import cellnet

NUMBER, COLUMNS, REACH, ZOOM = 24, 6, 40, 3  # points of a sheet; px shown to each side; screen px for each px
TOLERANCE = 12.0  # px
CLICK, PREDICTED, ASKED = (80, 160, 255), (255, 200, 0), (255, 60, 60)


def crop(sample, predicted, at):
    """The surroundings of one point: clicks as blue rings, predictions as yellow crosses, the point in red."""
    low, high = np.percentile(sample.image, [1, 99.5])
    y, x = np.rint(at).astype(int)
    side = 2 * REACH + 1
    part = np.pad(sample.image, REACH, mode="edge")[y : y + side, x : x + side]
    gray = (np.clip((part - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(gray).resize((side * ZOOM, side * ZOOM), Image.Resampling.BICUBIC).convert("RGB")
    draw = ImageDraw.Draw(picture)

    def place(point):
        return (np.asarray(point) - (y, x) + REACH + 0.5)[::-1] * ZOOM  # Pillow wants (x, y)

    for point in sample.points:
        draw.circle(tuple(place(point)), 5, outline=CLICK, width=2)
    for point in predicted:
        a, b = place(point)
        draw.line([a - 4, b, a + 4, b], fill=PREDICTED)
        draw.line([a, b - 4, a, b + 4], fill=PREDICTED)
    draw.circle(tuple(place((y, x))), 12, outline=ASKED, width=2)
    return picture


def sheet(sample, prediction, chosen):
    """All crops of one sheet, numbered row by row."""
    step = (2 * REACH + 1) * ZOOM + 17
    picture = Image.new("RGB", (COLUMNS * step, -(-len(chosen) // COLUMNS) * (step + 20)), "white")
    for number, index in enumerate(chosen):
        row, column = divmod(number, COLUMNS)
        place = (column * step, row * (step + 20))
        ImageDraw.Draw(picture).text(place, f"{number}: score {prediction.scores[index]:.2f}", fill="black")
        picture.paste(crop(sample, prediction.points, prediction.points[index]), (place[0], place[1] + 18))
    return picture


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folds", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    samples = [sample for sample in data.load("thesis") if sample.points is not None]
    rng, lines = np.random.default_rng(0), []
    for i, (_, (sample,)) in enumerate(data.folds(samples)):
        weights = arguments.folds / f"cellnet-fold-{i}.safetensors"
        prediction = cellnet.predict(sample.image, weights=weights, density=False)
        matching = metrics.match(sample.points, prediction.points, TOLERANCE)
        false = np.delete(np.arange(len(prediction.points)), matching.pairs[:, 1])
        close = metrics.near(prediction.points[false], sample.points)
        for reading, found in (("near", false[close]), ("away", false[~close])):
            chosen = rng.choice(found, min(NUMBER, len(found)), replace=False)
            sheet(sample, prediction, chosen).save(arguments.out / f"{sample.name}-{reading}.png")
            for number, index in enumerate(chosen):
                y, x = prediction.points[index]
                score = round(float(prediction.scores[index]), 3)
                line = {"image": sample.name, "reading": reading, "of": len(found), "number": number}
                lines.append(line | {"y": round(float(y), 1), "x": round(float(x), 1), "score": score})
    pd.DataFrame(lines).to_csv(arguments.out / "points.csv", index=False)


if __name__ == "__main__":
    main()
