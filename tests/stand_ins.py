"""Random networks of the architectures that other people publish, to be placed where their weights would be."""

import hashlib
import subprocess
import sys

import numpy as np

from cellcount import registry

STARDIST = """
import sys, zipfile
from pathlib import Path
from stardist.models import Config2D, StarDist2D

folder, out, channels, threshold = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
model = StarDist2D(Config2D(n_channel_in=channels, grid=(2, 2)), name="m", basedir=str(folder))
model.keras_model.save_weights(str(folder / "m" / "weights_best.h5"))
(folder / "m" / "thresholds.json").write_text('{"prob": %s, "nms": 0.3}' % threshold)
with zipfile.ZipFile(out, "w") as file:
    for part in (folder / "m").iterdir():
        file.write(part, part.name)
"""


def cellpose(folder, name="cyto3"):
    """Path of a network as the library publishes it."""
    import torch

    from cellcount.methods.cellpose.weights import new_model

    torch.manual_seed(0)
    state = new_model((32, 64, 128, 256), 30.0, torch.device("cpu")).net.state_dict()
    path = folder / registry.known_weights(f"cellpose-{name}").filename
    torch.save({key: value for key, value in state.items() if not key.startswith("diam_")}, path)
    return path


def cellpose_size(folder, diameter, name="cyto3"):
    """Path of the size model beside it, which says `diameter` (px) of every image."""
    path = folder / registry.known_weights(f"cellpose-{name}-size").filename
    np.save(path, {"A": np.zeros(256), "smean": np.zeros(256), "diam_mean": 30.0, "ymean": np.log(diameter / 30)})
    return path


def stardist(folder, scratch, *, name, channels, threshold):
    """Path of a model as the library publishes it; made in a process of its own, away from torch."""
    path = folder / registry.known_weights(f"stardist-{name}").filename
    command = [sys.executable, "-c", STARDIST, scratch, path, str(channels), str(threshold)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def vouch(files, folder):
    """Vouch for the files as a user does: in the folder of the user's weights."""
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(lines))
