"""CellNet's ONNX file, run by ONNX Runtime on a CPU: no torch, a quarter of the time of a short run."""

import functools
import json
from pathlib import Path

import numpy as np
import onnxruntime as ort

from cellcount.devices import cpu_threads
from cellcount.errors import DataError
from cellcount.methods.cellnet.pixels import brightness_and_contrast
from cellcount.methods.cellnet.settings import ONNX_FORMAT, Settings


class OnnxEngine:
    """Heatmaps of an ONNX file, with what it says of itself (`about`), its `settings`, the `weights_sha256` of the
    safetensors file that it was made of, and where and by what they are made.

    Parameters
    ----------
    path : path of a file written by `export`

    Raises
    ------
    DataError
        If it is torn, or not one of CellNet's.
    """

    name = f"onnxruntime {ort.__version__}"
    device = "cpu"

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = cpu_threads()
        # A thread that waits by spinning takes a fifth of the CPU time, and no convolution is so short as to need it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its classes have no common base and lie in a private module
            reason = str(error).splitlines()[0]
            raise DataError(f"{path}: not an ONNX file, or cut short ({reason}); write it anew.") from error
        self.about = json.loads(self._session.get_modelmeta().custom_metadata_map.get("cellcount", "{}"))
        if self.about.get("format") != ONNX_FORMAT:
            raise DataError(f"{path}: an ONNX file, but not one of CellNet's (its metadata has no {ONNX_FORMAT}).")
        self.settings = Settings(**self.about["settings"])
        self.weights_sha256 = self.about["weights_sha256"]

    def heats(self, images: list[np.ndarray], exposure: tuple[float, float] | None) -> list[np.ndarray]:
        """(H, W) float32 images -> for each (ceil(H / factor), ceil(W / factor)) float32; 1 is a full peak."""
        return [self._heat(image, exposure or brightness_and_contrast(image)) for image in images]

    def _heat(self, image, exposure):
        # The graph's own points, 3 % of the time, are for whoever has no `targets.peaks`, which also knows plateaus.
        inputs = {"image": image[None, None], "exposure": np.array(exposure, np.float32)}
        return self._session.run(["heat"], inputs)[0][0, 0]


@functools.lru_cache(maxsize=4)
def load(path: Path, mtime: int) -> OnnxEngine:
    """The engine of a file; `mtime` makes a rewritten file a new one to the cache."""
    return OnnxEngine(path)
