"""Which SAM and micro-SAM weights there are, whether they are here, and the network that they make.

Names, addresses and XXH128 hashes of micro-SAM's weights are those of `micro_sam.util.models` 1.8.14, which a test
compares. The SHA-256 of the files of Meta and of MobileSAM are those that projects which pin them agree on.
The files are read by this module and not by `micro_sam.util.get_sam_model`: that one unpickles whatever a file holds.
"""

import functools
import importlib.util
import os
import pickle
from dataclasses import dataclass
from typing import NamedTuple

from cellcount import registry
from cellcount.devices import choose_device
from cellcount.errors import DataError, NotAvailableError, ParameterError
from cellcount.methods.sam import small
from cellcount.methods.status import Status
from cellcount.registry import Weights, megabytes

SAM_TILE = 512  # px of the image that fill SAM's 1024 px: cells of 35 px become 70, nearer to what SAM has seen
SMALL = "small"
DEFAULT = "vit_b_lm"  # micro_sam's own default

_META = "https://dl.fbaipublicfiles.com/segment_anything/"
_ZOO = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io/"
_CLOUD = "https://owncloud.gwdg.de/index.php/s/"
_KIRILLOV = "A. Kirillov et al., Segment Anything, 2023, arXiv:2304.02643"
_MOBILE = "C. Zhang et al., Faster Segment Anything, 2023, arXiv:2306.14289"
_ARCHIT = "A. Archit et al., Segment Anything for Microscopy, 2025, doi:10.1038/s41592-024-02580-4"
_PATHO = "T. Griebel et al., Segment Anything for Histopathology, 2025, arXiv:2502.00408"
_MEDICAL = "A. Archit et al., MedicoSAM, 2025, arXiv:2501.11734"
# Bytes of a file with the weights of one architecture. micro-SAM publishes no sizes: theirs are the originals'.
_BYTES = {"vit_t": 40_728_226, "vit_b": 375_042_383, "vit_l": 1_249_524_607, "vit_h": 2_564_550_879}


@dataclass(frozen=True)
class Backbone:
    """One set of weights, and the network that it fits.

    Attributes
    ----------
    name : str
    architecture : "vit_t", "vit_b", "vit_l", "vit_h" or "small"
    trained_on : str
    tile, overlap : int, px
        Side of the part of an image that the network sees at once, and how much of that, at each of its sides, is
        only seen and answers for no prompt of its own.
    """

    name: str
    architecture: str
    trained_on: str
    tile: int = SAM_TILE
    overlap: int = 48  # more than a cell, and the 25 px of the thesis' boxes; a thesis image is then 20 tiles


class Loaded(NamedTuple):
    """A network ready for use: `sam` (segment_anything's `Sam`), SHA-256 of its weights, and its `Backbone`."""

    sam: object
    digest: str
    backbone: Backbone


# name: (address, hash as (algorithm, hexadecimal), what it was trained on, citation)
_PUBLISHED = {
    "vit_b": (
        f"{_META}sam_vit_b_01ec64.pth",
        ("sha256", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"), "photographs", _KIRILLOV,
    ),
    "vit_l": (
        f"{_META}sam_vit_l_0b3195.pth",
        ("sha256", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622"), "photographs", _KIRILLOV,
    ),
    "vit_h": (
        f"{_META}sam_vit_h_4b8939.pth",
        ("sha256", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"), "photographs", _KIRILLOV,
    ),
    "vit_t": (
        f"{_CLOUD}TuDzuwVDHd1ZDnQ/download",
        ("sha256", "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f"), "photographs", _MOBILE,
    ),
    "vit_t_lm": (
        f"{_ZOO}faithful-chicken/1.1/files/vit_t.pt",
        ("xxh128", "72ec5074774761a6e5c05a08942f981e"), "light microscopy", _ARCHIT,
    ),
    "vit_b_lm": (
        f"{_ZOO}diplomatic-bug/1.2/files/vit_b.pt",
        ("xxh128", "fe9252a29f3f4ea53c15a06de471e186"), "light microscopy", _ARCHIT,
    ),
    "vit_l_lm": (
        f"{_ZOO}idealistic-rat/1.2/files/vit_l.pt",
        ("xxh128", "017f20677997d628426dec80a8018f9d"), "light microscopy", _ARCHIT,
    ),
    "vit_t_em_organelles": (
        f"{_ZOO}greedy-whale/1/files/vit_t.pt",
        ("xxh128", "253474720c497cce605e57c9b1d18fd9"), "electron microscopy", _ARCHIT,
    ),
    "vit_b_em_organelles": (
        f"{_ZOO}noisy-ox/1.2/files/vit_b.pt",
        ("xxh128", "f3bf2ed83d691456bae2c3f9a05fb438"), "electron microscopy", _ARCHIT,
    ),
    "vit_l_em_organelles": (
        f"{_ZOO}humorous-crab/1.2/files/vit_l.pt",
        ("xxh128", "810b084b6e51acdbf760a993d8619f2d"), "electron microscopy", _ARCHIT,
    ),
    "vit_b_histopathology": (
        f"{_CLOUD}sBB4H8CTmIoBZsQ/download",
        ("xxh128", "ffd1a2cd84570458b257bd95fdd8f974"), "stained tissue", _PATHO,
    ),
    "vit_l_histopathology": (
        f"{_CLOUD}IZgnn1cpBq2PHod/download",
        ("xxh128", "b591833c89754271023e901281dee3f2"), "stained tissue", _PATHO,
    ),
    "vit_h_histopathology": (
        f"{_CLOUD}L7AcvVz7DoWJ2RZ/download",
        ("xxh128", "bd1856dafc156a43fb3aa705f1a6e92e"), "stained tissue", _PATHO,
    ),
    "vit_b_medical_imaging": (
        f"{_CLOUD}f5Ol4FrjPQWfjUF/download",
        ("xxh128", "40169f1e3c03a4b67bff58249c176d92"), "medical images", _MEDICAL,
    ),
}  # fmt: skip

BACKBONES = {
    name: Backbone(name, name[:5], trained_on) for name, (_, _, trained_on, _) in _PUBLISHED.items()
} | {SMALL: Backbone(SMALL, "small", "simulated phase contrast", small.TILE, small.OVERLAP)}  # fmt: skip


def _entry(name):
    url, (algorithm, digest), _, citation = _PUBLISHED[name]
    folder = os.environ.get("MICROSAM_CACHEDIR") or registry.pooch.os_cache("micro_sam")
    return Weights(
        name=name,
        filename=url.rsplit("/", 1)[-1] if url.startswith(_META) else f"{name}.pt",
        url=url,
        sha256=digest if algorithm == "sha256" else "",
        xxh128=digest if algorithm == "xxh128" else "",
        bytes=_BYTES[name[:5]],
        licence="Apache-2.0" if citation in (_KIRILLOV, _MOBILE) else "CC-BY-4.0",
        citation=citation,
        cache=os.path.join(folder, "models", name),
    )


registry.WEIGHTS.update({name: _entry(name) for name in _PUBLISHED})


def backbone(name):
    """The `Backbone` of this name. Raises ParameterError with the known names."""
    if name not in BACKBONES:
        raise ParameterError(f"SAM has no model {name!r}; known are {', '.join(BACKBONES)}.")
    return BACKBONES[name]


def status(model=DEFAULT):
    """Whether a model can run here: `Status`. Raises ParameterError if there is no such model."""
    chosen = backbone(model)
    lacking = _package(chosen.architecture)
    if lacking:
        return Status("needs package", f"{model} is built by {lacking}: pip install {PACKAGES[lacking]}")
    if model == SMALL:
        return small.status()
    entry = registry.weights(model)
    try:
        if registry.find_weights(model):
            return Status("ready", f"{model}, trained on {chosen.trained_on}")
    except DataError as error:
        return Status("needs weights", str(error))
    size = megabytes(entry.bytes)
    return Status(
        "needs weights",
        f"{model} ({size}, {entry.licence}): cellcount weights fetch {model}, or {entry.filename} in weights/ of "
        "the folder named by CELLCOUNT_DATA",
    )


PACKAGES = {"mobile_sam": "mobilesam-mirror", "segment_anything": "segment-anything-py"}  # module: name on PyPI


def _package(architecture):
    """The module that builds an architecture if it is not installed, else ""."""
    module = "mobile_sam" if architecture == "vit_t" else "segment_anything"
    return "" if importlib.util.find_spec(module) else module


def load(model=DEFAULT, device="auto", weights=None):
    """The network of a model with its weights, ready for use.

    Parameters
    ----------
    model : str
        One of `BACKBONES`.
    device : str
    weights : path or None
        For the model "small": a file written by `fit`; None takes the one shipped with the package.

    Returns
    -------
    Loaded

    Raises
    ------
    ParameterError
        If the model is unknown, or weights are given for one whose weights are registered.
    NotAvailableError
        If its weights or its package are not here. Nothing is ever downloaded.
    DataError
        If a file of weights is not the registered one, or does not fit.
    """
    chosen = backbone(model)
    if weights is not None and model != SMALL:
        raise ParameterError(f"weights={str(weights)!r}: {model} takes the registered weights only.")
    if model == SMALL:
        path = small.path(weights)
    else:
        state = status(model)
        if state.state != "ready":
            raise NotAvailableError(f"Not on this machine: {state.detail}.")
        path = registry.find_weights(model)
    return _load(chosen, path, path.stat().st_mtime_ns, choose_device(device))


@functools.lru_cache(maxsize=1)  # vit_h alone is 2.6 GB
def _load(chosen, path, mtime, device):
    if chosen.name == SMALL:
        network = small.load(path)
    else:
        network = _build(chosen.architecture)
        _fill(network, path)
    return Loaded(network.eval().requires_grad_(False).to(device), registry.digest(path), chosen)


def _build(architecture):
    if architecture == "vit_t":
        import warnings

        with warnings.catch_warnings():  # it registers its models with timm in a way that timm has outgrown
            warnings.simplefilter("ignore")
            from mobile_sam import sam_model_registry

            return sam_model_registry[architecture]()
    from segment_anything import sam_model_registry

    return sam_model_registry[architecture]()


def _fill(network, path):
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise DataError(f"{path}: no file of plain weights ({str(error).splitlines()[0]}).") from error
    state = state.get("model_state", state)  # a checkpoint of a training run keeps them one level down
    state = {name.removeprefix("sam."): tensor for name, tensor in state.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{path}: the weights do not fit ({' '.join(str(error).split())[:200]} ...).") from error
