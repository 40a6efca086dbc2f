"""CellNet's network in torch: on GPUs, averaged over symmetries, and for weights without an ONNX file."""

from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cellcount.files import sha256
from cellcount.methods import weights_files
from cellcount.methods.cellnet.calibration import Counting
from cellcount.methods.cellnet.losses import heat as heat_of
from cellcount.methods.cellnet.network import build, fused
from cellcount.methods.cellnet.settings import FORMAT, Settings, stride


class TorchEngine:
    """Computes heatmaps with a weights file.

    Parameters
    ----------
    path : path of a safetensors file
    device : torch.device
    averaging : int
        Mean heatmap over this many of the eight symmetries of the square.

    Attributes
    ----------
    settings : Settings
    counting : Counting
    weights_sha256 : str
    name, device : str
        For the provenance of a prediction.

    Raises
    ------
    DataError
        As `checkpoint.about`.
    """

    name = f"torch {torch.__version__}"

    def __init__(self, path: Path, device: torch.device, averaging: int = 1) -> None:
        self._network, self.settings, self.weights_sha256 = load_weights(path, device)
        self.counting = counting(path)
        self._device, self._averaging = device, averaging
        self.device = str(device)

    def heats(self, images: list[np.ndarray], exposure: tuple[float, float] | None) -> np.ndarray:
        """(H, W) float32 images of one shape -> (N, ceil(H / factor), ceil(W / factor)) float32; 1 is a full peak."""
        stack = np.stack([self.settings.prepared(image, exposure) for image in images])
        return run(self._network, stack, self.settings, self._device, self._averaging)


def read_network(path: str | Path) -> tuple[nn.Module, Settings]:
    """Network (float32, in evaluation mode) and settings of a weights file; raises DataError as `about` does."""
    described, state = weights_files.read(path, FORMAT, "CellNet")
    with weights_files.usable(path):
        settings = Settings(**described["settings"])
        network = build(settings)
        network.load_state_dict(state)
    return network.float().eval(), settings


@weights_files.cached(4)
def load_weights(path: Path, device: torch.device) -> tuple[nn.Module, Settings, str]:
    """Network, fused for inference, settings and SHA-256 of a weights file, kept until the file changes."""
    network, settings = read_network(path)
    return fused(network).to(device, memory_format=torch.channels_last), settings, sha256(path)


@weights_files.cached(4)
def counting(path: Path) -> Counting:
    """How a weights file counts, kept until the file changes."""
    with weights_files.usable(path):
        return Counting.of(weights_files.about(path, FORMAT, "CellNet"))


@torch.inference_mode()
def run(
    network: nn.Module, images: np.ndarray, settings: Settings, device: torch.device, averaging: int = 1
) -> np.ndarray:
    """The heatmap of an image from `Settings.prepared`, or of a stack of them; on a GPU in half precision.

    (detail H, detail W) float32 -> (H, W) float32, or (N, detail H, detail W) -> (N, H, W); 1 is a full peak.
    """
    *stack, height, width = images.shape
    step = stride(settings.widths) * settings.detail
    padded = np.pad(
        images.reshape(-1, 1, height, width),
        [(0, 0), (0, 0), (0, -height % step), (0, -width % step)],
        mode="symmetric",
    )
    x = torch.from_numpy(padded).contiguous(memory_format=torch.channels_last).to(device)
    with half_precision(device):
        total = sum(_turned_back(network(_turned(x, k)), k).float() for k in range(averaging))
    heat = heat_of(total / averaging, settings.loss)
    height, width = height // settings.detail, width // settings.detail
    return heat[:, 0, :height, :width].cpu().numpy().reshape(*stack, height, width)


def half_precision(device: torch.device) -> AbstractContextManager:
    """Convolutions in float16 on a GPU: three more bits than bfloat16, and no activation comes near its 65504."""
    return torch.autocast(device.type, torch.float16, enabled=device.type == "cuda")


def _turned(x, k):
    x = torch.rot90(x, k % 4, (2, 3))
    return x.flip(3) if k >= 4 else x


def _turned_back(x, k):
    x = x.flip(3) if k >= 4 else x
    return torch.rot90(x, -(k % 4), (2, 3))
