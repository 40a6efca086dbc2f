"""Random networks of the architectures that other people publish, to be placed where their weights would be."""

import hashlib
import subprocess
import sys
import types
from dataclasses import replace
from unittest import mock

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


def nuclephaser(path):
    """Path of a checkpoint like NuclePhaser's, as its package has them: it finds dark spots of some 15 px."""
    import torch
    from torch import nn

    from cellcount.methods.nuclephaser import network

    made = {(layer.__module__, layer.__name__): layer for layer in network.STAND_INS}

    def module(where, name, **parts):
        one = made[where, name]()
        for key, part in parts.items():
            setattr(one, key, part)
        return one

    mean = nn.Conv2d(3, 4, 2, 2, bias=False)
    mean.weight.data.fill_(1 / 12)
    first = module(
        "ultralytics.nn.modules.conv", "Conv", conv=mean, bn=nn.BatchNorm2d(4), act=nn.Identity(), f=-1, i=0
    )  # fmt: skip
    far, dark = nn.Conv2d(4, 64, 1), nn.Conv2d(4, 1, 1)
    far.weight.data.zero_()
    far.bias.data = 50.0 * (torch.arange(64) % 16 == 5)  # each side of a box is 5 pixels of the map away
    dark.weight.data.fill_(-30 / 4)
    dark.bias.data.fill_(30 * 0.42)
    bins = nn.Conv2d(16, 1, 1, bias=False)
    bins.weight.data = torch.arange(16.0).view(1, 16, 1, 1)
    last = module(
        "ultralytics.nn.modules.head", "Detect", cv2=nn.ModuleList([far]), cv3=nn.ModuleList([dark]),
        dfl=module("ultralytics.nn.modules.block", "DFL", conv=bins, c1=16), stride=torch.tensor([2.0]), f=[0], i=1,
    )  # fmt: skip
    whole = module("ultralytics.nn.tasks", "DetectionModel", model=nn.Sequential(first, last).half())
    parts = [where.split(".") for where, _ in made]  # where pickle looks for the classes
    parents = {".".join(names[:end]) for names in parts for end in range(1, len(names) + 1)}
    places = {where: types.ModuleType(where) for where in parents}
    for (where, name), layer in made.items():
        setattr(places[where], name, layer)
    with mock.patch.dict(sys.modules, places):
        torch.save({"model": whole}, path)
    return path


def known_as(name, path):
    """The registry's entry of weights, if they were the file at `path`."""
    return replace(registry.known_weights(name), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
