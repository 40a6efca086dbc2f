"""`cellcount train`: weights of one's own from a folder of images and clicks."""

from dataclasses import fields
from pathlib import Path

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
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")


def run(arguments):
    """Load, train, write the weights, and say what to do with them."""
    from cellcount.data import load
    from cellcount.methods.cellnet import fit

    params = _settings(arguments.parameters)
    samples = [sample for sample in load(arguments.data) if sample.points is not None and sample.split != "test"]
    if arguments.images:
        known = {sample.name for sample in samples}
        unknown = sorted(set(arguments.images) - known)
        if unknown:
            raise DataError(f"{arguments.data} has no annotated image {', '.join(unknown)}; it has {sorted(known)}.")
        samples = [sample for sample in samples if sample.name in arguments.images]
    fit(samples, out=arguments.out, device=arguments.device, **params)
    print(f"{arguments.out}: trained on {len(samples)} images.")
    print(f"Count with: cellcount count IMAGE --weights {arguments.out}")


def _settings(given):
    """Values of the types that `Settings` has, from text."""
    from cellcount.methods.cellnet.settings import Settings

    known = {field.name: field for field in fields(Settings)}
    params = {}
    for name, text in given:
        if name not in known:
            raise ParameterError(f"CellNet has no parameter {name}; known: {', '.join(known)}.")
        default = known[name].default
        try:
            if isinstance(default, tuple):
                params[name] = tuple(int(part) for part in text.split(","))
            else:
                params[name] = type(default)(text)
        except ValueError as error:
            raise ParameterError(f"-p {name} {text}: expected a value like {default}.") from error
    return params
