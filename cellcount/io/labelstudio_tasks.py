"""Tasks of Label Studio for correcting points: crops of images, with the points found so far as predictions."""

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cellcount.files import replacing
from cellcount.io import labelstudio
from cellcount.io.crops import MARGIN, Box, inside
from cellcount.io.large import LargeImage
from cellcount.io.points import Annotation, Mark

CONTROL, IMAGE = "cells", "image"  # names in the configuration, to which the predictions refer
LABELS = {"live": "Live Cell", "dead": "Dead Cell", "background": "Background"}
CONFIG = f"""<View>
  <Header value="Correct the points in the bright part; submit every crop, also one without a cell."/>
  <Image name="{IMAGE}" value="$image" width="90%" zoom="true" brightnessControl="true" contrastControl="true"/>
  <KeyPointLabels name="{CONTROL}" toName="{IMAGE}" strokeWidth="3" opacity="0.9">
    <Label value="Live Cell" background="#e69f00" hotkey="1"/>
    <Label value="Dead Cell" background="#56b4e9" hotkey="2"/>
    <Label value="Background" background="#009e73" hotkey="3"/>
  </KeyPointLabels>
</View>
"""  # colours of Okabe and Ito; at its full width, Label Studio 1.23 cuts off 2 % of the image at each side
LOSSLESS = 256**2  # px; a crop no larger is sent as PNG, others as JPEG: 180 kB for 576 x 576 px
QUALITY = 92
DARK = 0.45  # factor on the gray values of the margin


def crop_task(
    pixels: np.ndarray | LargeImage, found: Annotation, core: Box, crop: Box, span: tuple[float, float],
    further: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """One task: a crop of an image, in its JSON, with the points of its core as predictions.

    Parameters
    ----------
    pixels : (H, W) float32, or `LargeImage`
        The whole image, as it was counted.
    found : Annotation
        Its points, with labels of `LABELS`; its `annotator` is the model's version.
    core, crop : boxes (y0, x0, y1, x1) px
    span : (black, white)
        The values that are shown as black and white.
    further : dict
        Written into the task's data.
    """
    y0, x0, y1, x1 = crop
    height, width = y1 - y0, x1 - x0
    own = inside(np.array([mark.position for mark in found.points], np.float32).reshape(-1, 2), core)
    marks = [
        Mark((mark.position[0] - y0, mark.position[1] - x0), mark.label, score=mark.score)
        for mark, shown in zip(found.points, own, strict=True)
        if shown
    ]
    data = {
        "image": _encoded(pixels[y0:y1, x0:x1], [edge - start for edge, start in zip(core, (y0, x0) * 2)], span),
        "source": found.image, "top": y0, "left": x0, "height": height, "width": width, "margin": MARGIN,
        "source_height": pixels.shape[0], "source_width": pixels.shape[1], "predicted": len(marks), **further,
    }  # fmt: skip
    return labelstudio.task(replace(found, points=marks, boxes=[], size=(height, width)), data, (CONTROL, IMAGE))


def span(pixels: np.ndarray | LargeImage) -> tuple[float, float]:
    """The 0.1 and the 99.9 percentile of an image (H, W), which are shown as black and white, as in overlays."""
    sample = pixels.sample if isinstance(pixels, LargeImage) else pixels
    step = max(1, int(np.sqrt(sample.size / 1e6)))
    black, white = np.quantile(sample[::step, ::step], [0.001, 0.999]).tolist()
    return black, white if white > black else black + 1


def shown(pixels: np.ndarray, core: Sequence[int], span: tuple[float, float]) -> np.ndarray:
    """(h, w) uint8: a crop (h, w) float32 as a person sees it; what is outside of the box `core` is dark."""
    gray = np.clip((pixels - span[0]) * (255 / (span[1] - span[0])), 0, 255)
    seen = gray * DARK
    window = slice(core[0], core[2]), slice(core[1], core[3])
    seen[window] = gray[window]
    return np.rint(seen).astype(np.uint8)


def _encoded(pixels: np.ndarray, core: Sequence[int], span: tuple[float, float]) -> str:
    """(h, w) float32 as the address of an image that contains its data, as it is `shown`."""
    from PIL import Image

    kind = "png" if pixels.size <= LOSSLESS else "jpeg"
    stored = io.BytesIO()
    Image.fromarray(shown(pixels, core, span), "L").save(stored, kind, quality=QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(stored.getvalue()).decode()}"


def without_pixels(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task without the image in its data, of which it keeps the name."""
    data = dict(task.get("data") or {})
    if str(data.get(IMAGE, "")).startswith("data:"):
        data[IMAGE] = str(data.get("source", ""))
    return {**task, "data": data}


def annotated(tasks: Iterable[Mapping[str, Any]]) -> set[tuple[str, int, int]]:
    """(image, top, left) of each task of a crop with an annotation that was submitted, and not skipped."""
    return {
        (task["data"]["source"], task["data"]["top"], task["data"]["left"])
        for task in tasks
        if any(not one.get("was_cancelled") for one in task.get("annotations") or [])
    }


def write(path: Path | str, tasks: Iterable[dict[str, Any]]) -> int:
    """Write tasks to a file, and the labelling configuration beside it (.xml); returns the bytes of the file."""
    path = Path(path)
    with replacing(path.with_suffix(".xml")) as temporary:
        temporary.write_text(CONFIG, "utf-8")
    with replacing(path) as temporary:
        with open(temporary, "w", encoding="utf-8") as file:
            before = "["
            for task in tasks:
                file.write(f"{before}\n{json.dumps(task)}")
                before = ","
            file.write("\n]\n")
        return temporary.stat().st_size
