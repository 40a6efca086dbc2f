"""CellNet's ONNX file, run by ONNX Runtime on a CPU: no torch, a quarter of the time of a short run."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort

from cellcount.devices import cpu_threads
from cellcount.errors import DataError
from cellcount.methods.cellnet.calibration import Counting
from cellcount.methods.cellnet.settings import ONNX_FORMAT, Settings
from cellcount.methods.pixels import brightness_and_contrast
from cellcount.methods.weights_files import cached, check_format, usable


class OnnxEngine:
    """Computes heatmaps with an ONNX file.

    Parameters
    ----------
    path : path of a file written by `export`

    Attributes
    ----------
    about : dict
        The file's metadata.
    settings : Settings
    counting : Counting
    weights_sha256 : str
        Of the safetensors file that it was made of.
    name, device : str
        For the provenance of a prediction.

    Raises
    ------
    DataError
        If the file is truncated, or not one of CellNet's.
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
        except Exception as error:  # its exceptions have no common public base
            reason = str(error).splitlines()[0]
            raise DataError(f"{path}: not an ONNX file, or truncated ({reason}); create it again.") from error
        with usable(path):
            self.about = json.loads(self._session.get_modelmeta().custom_metadata_map.get("cellcount", "{}"))
            check_format(self.about, path, "an ONNX file", ONNX_FORMAT, "CellNet")
            self.settings, self.counting = Settings(**self.about["settings"]), Counting.of(self.about)
            self.weights_sha256 = self.about["weights_sha256"]

    def heats(self, images: list[np.ndarray], exposure: tuple[float, float] | None) -> list[np.ndarray]:
        """(H, W) float32 images -> for each (ceil(H / factor), ceil(W / factor)) float32; 1 is a full peak."""
        # The graph's own points, 3 % of the time, are for programs without `pixels.peaks`, which merges plateaus.
        inputs = [
            {"image": image[None, None], "exposure": np.array(exposure or brightness_and_contrast(image), np.float32)}
            for image in images
        ]
        return [self._session.run(["heat"], one)[0][0, 0] for one in inputs]


@cached(4)
def load(path: Path) -> OnnxEngine:
    """The engine of a file, kept until the file changes."""
    return OnnxEngine(path)
