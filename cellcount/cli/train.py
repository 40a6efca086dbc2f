"""`cellcount train`: weights of one's own from a folder of images and clicks."""

from dataclasses import fields
from pathlib import Path
from typing import get_args, get_origin

from cellcount.errors import DataError, ParameterError


def add_arguments(parser):
    """The arguments of `cellcount train`."""
    parser.add_argument("data", help="a folder of images and clicks, thesis, phantom or vgg-cells")
    parser.add_argument("--out", type=Path, default=Path("cellnet.safetensors"), help="(default: cellnet.safetensors)")
    parser.add_argument("--images", nargs="+", metavar="NAME", help="train on these only (default: all annotated)")
    parser.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a setting of CellNet, such as -p steps 2000; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--start", default="auto",
        help="weights to go on from: a file of the same network, phantom (simulated cells, shipped), none (fresh "
        "ones), or auto: phantom, if the settings ask for its network (default)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")


def run(arguments):
    """Load, train, write the weights, and say what to do with them."""
    from cellcount.data import load
    from cellcount.methods.cellnet import fit

    params = settings_from_text(arguments.parameters)
    samples = [sample for sample in load(arguments.data) if sample.points is not None and sample.split != "test"]
    if arguments.images:
        known = {sample.name for sample in samples}
        unknown = sorted(set(arguments.images) - known)
        if unknown:
            raise DataError(f"{arguments.data} has no annotated image {', '.join(unknown)}; it has {sorted(known)}.")
        samples = [sample for sample in samples if sample.name in arguments.images]
    start = None if arguments.start == "none" else arguments.start
    fit(samples, out=arguments.out, start=start, device=arguments.device, **params)
    print(f"{arguments.out}: trained on {len(samples)} images.")
    print(f"Count with: cellcount count IMAGE --weights {arguments.out}")


def settings_from_text(given):
    """Settings of CellNet from pairs of texts (name, value): a dict of the types that `Settings` has."""
    from cellcount.methods.cellnet.settings import Settings

    known = {field.name: field for field in fields(Settings)}
    params = {}
    for name, text in given:
        if name not in known:
            raise ParameterError(f"CellNet has no parameter {name}; known: {', '.join(known)}.")
        field = known[name]
        try:
            params[name] = _value(text, field.type)
        except ValueError as error:
            example = (2 if "int" in str(field.type) else 2.5) if field.default is None else field.default
            raise ParameterError(f"-p {name} {text}: expected a value like {example}.") from error
    return params


def _value(text, kind):
    """Text as a value of a type like `int | None`, `tuple[int, ...]` or `tuple[float, float] | None`."""
    if get_origin(kind) is tuple:
        return tuple(get_args(kind)[0](part) for part in text.split(","))
    kinds = get_args(kind) or (kind,)
    if type(None) in kinds and text == "None":
        return None
    return _value(text, kinds[0]) if len(kinds) > 1 else kind(text)
