"""The contract of every method, the checks that all of them share, and the settings of a training."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, Union, get_args, get_origin

import numpy as np

from cellcount.errors import SMALLEST_EXTRA, CellcountError, DataError, ParameterError, install, needing, require
from cellcount.methods.prompts import Prompts
from cellcount.types import Prediction, Sample, as_points

CONTEXT = ("exposure", "contrast", "pixels")  # results of `context`: parameters that are not shown to users
PARTS = ("device", "progress", "out")  # arguments of every call, which are no parameters of a method
Exposure = tuple[float, float] | None  # two intensities of a whole image, where the method gets a tile of it
HINTS = {"weights": "a file written by `cellcount train`", "prompts": "points, or `cellcount.methods.prompts`"}
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Status(NamedTuple):
    """`state` is "ready", "needs weights" or "needs package"; `detail` explains it, and what to do."""

    state: str
    detail: str


class Look(NamedTuple):
    """What a method makes of an image before it counts: by which factor to resample it, what is unusual about it (the
    warnings), the width of its cells, px, if it is known, and whether it was large enough to tell.
    """

    scale: float = 1.0
    warnings: tuple[str, ...] = ()
    cell_width: float | None = None
    told: bool = True


def ready(detail: str, *packages: str) -> Status:
    """Ready, where these packages are installed; else "needs package", with the command that installs them."""
    lacking = [name for name in packages if find_spec(name) is None]
    if lacking:
        return Status("needs package", f"{', '.join(lacking)}: {install(SMALLEST_EXTRA.get(lacking[0], 'methods'))}")
    return Status("ready", detail)


def weights_status(find: Callable[[str], str], names: Sequence[str], *packages: str) -> Status:
    """Ready, if a method's packages and some published weights of it are on this machine.

    Parameters
    ----------
    find : function
        Of the name of weights; gives the `detail` of the status, or raises a CellcountError if they are missing.
    names : sequence of str
        Of which one is enough; the first is reported as missing.
    packages : names of the packages that the method is made of
    """
    state = ready("", *packages)
    lacking = []
    for name in names if state.state == "ready" else ():
        try:
            return Status("ready", find(name))
        except CellcountError as error:
            lacking.append(str(error))
    choice = f"one of {', '.join(names)}, or a file written by `fit`. " if len(names) > 1 else ""
    return Status("needs weights", f"{choice}{lacking[0]}") if lacking else state


class Method(Protocol):
    """Every entry of `cellcount.METHODS`.

    One that can be trained also has `fit(samples, *, out, device="auto", progress=True, **params) -> Path`, its
    `Settings`, a subclass of `TrainingSettings`, and `VERSION`, an int that is raised when the same call of `fit` gives
    other weights than before. Some have `predict_batch(images, *, device, **params)`, for several images of one shape,
    `export(weights, out)`, for a file that counts without torch, `look(view, *, cell_width, pixel_size_um, **params) ->
    Look`, which finds the scale at which to count and what is unusual about an image, and `interval(count, **params)`.
    """

    @property
    def predict(self) -> Callable[..., Prediction]:
        """`predict(image, *, prompts=None, device="auto", **params) -> Prediction`, made by `predicts`."""

    def context(self, image: Any, **params: Any) -> dict[str, Any]:
        """Properties of a whole image (exposure, diameter) that `predict` needs for its tiles, as further arguments.

        image : (H, W) float32 in [0, 1], or a `LargeImage`; params : the other arguments of `predict`.
        """

    def status(self) -> Status:
        """Whether it can run on this machine, and what is missing."""


class Parameter(NamedTuple):
    """One parameter of a method: its type, and its default (`inspect.Parameter.empty` where one must be given)."""

    kind: Any
    default: Any


def predicts(
    label: str, *, prompts: Literal["none", "optional", "required"] = "none", packages: Sequence[str] = ()
) -> Callable[[Any], Any]:
    """Decorate a method's `predict(image, *, prompts, device, **params)` with the checks that all methods share.

    Parameters
    ----------
    label : str
        The method's name in messages.
    prompts : "none", "optional" or "required"
    packages : names of the packages that it needs

    Returns
    -------
    decorator
        The decorated function raises a DataError unless the image is (H, W) float32 with at least one pixel, a
        ParameterError for an unknown or a missing argument, and a NotAvailableError if a package is not installed.
    """

    def decorate(predict: Callable[..., Prediction]) -> Callable[..., Prediction]:
        @functools.wraps(predict)
        def checked(image: np.ndarray, **given: Any) -> Prediction:
            check_call(checked, given)
            check_image(image, label)
            if given.get("prompts") is not None and not isinstance(given["prompts"], Prompts):
                given["prompts"] = as_points(given["prompts"], "prompts")
            need_packages(label, packages)
            with needing("methods", label):
                return predict(image, **given)

        checked.label, checked.prompts = label, prompts  # type: ignore[attr-defined]  # what `check_call` reads
        return checked

    return decorate


def need_packages(label: str, packages: Iterable[str]) -> None:
    """Raise a NotAvailableError, which names the method by `label`, if a package is not installed."""
    with needing("methods", label):
        for package in packages:
            if find_spec(package) is None:
                raise ModuleNotFoundError(name=package)


def check_image(image: np.ndarray, label: str) -> None:
    """Raise a DataError unless `image` is (H, W) float32 with at least one pixel."""
    if not isinstance(image, np.ndarray) or image.ndim != 2 or image.dtype != np.float32 or not image.size:
        found = f"shape {image.shape}, {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"{label} takes an (H, W) float32 image in [0, 1], got {found}.")


def check_call(predict: Callable[..., Prediction], given: Mapping[str, Any]) -> None:
    """Raise a ParameterError for arguments that `predict`, decorated by `predicts`, does not take or lacks."""
    label, prompts = predict.label, predict.prompts  # type: ignore[attr-defined]
    known, own = parameters(predict), inspect.signature(predict).parameters  # some have `progress`
    require(given.get("prompts") is None or prompts != "none", f"{label} takes no prompts.")
    refuse_unknown(label, [name for name in given if name not in own], known)
    for name, (kind, _) in known.items():
        if name in given:
            check_value(label, name, given[name], kind)
    needed = [name for name, one in known.items() if one.default is inspect.Parameter.empty]
    for name in [*needed, "prompts"] if prompts == "required" else needed:
        require(given.get(name) is not None, f"{label} needs {name}: {HINTS.get(name, 'it has no default')}.")


def check_value(label: str, name: str, value: Any, kind: Any) -> None:
    """Raise a ParameterError unless a value has the type of its parameter, and is finite if it is a number."""
    if not _fits(value, kind):
        wanted = getattr(kind, "__name__", str(kind)) if get_origin(kind) is None else str(kind)
        raise ParameterError(f"{label}: {name}={value!r:.60} must be {wanted}.")
    numbers = value if isinstance(value, (tuple, list)) else [value]
    if any(isinstance(number, (float, np.floating)) and not np.isfinite(number) for number in numbers):
        raise ParameterError(f"{label}: {name}={value!r} must be a finite number.")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type like `int | None`, `tuple[int, ...]` or `str | Path`; True for unknown types."""
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, (tuple, list)) and all(_fits(part, get_args(kind)[0]) for part in value)
    if kind in (int, float) and isinstance(value, bool):  # which Python takes for an int
        return False
    also = {bool: (bool, np.bool_), int: (int, np.integer), float: (int, float, np.integer, np.floating)}
    return not isinstance(kind, type) or isinstance(value, also.get(kind, kind))


def refuse_unknown(label: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise a ParameterError, which lists the `known` names, if one of `names` is not among them."""
    unknown, has = sorted(set(names) - set(known)), ", ".join(name for name in known if name not in CONTEXT) or "none"
    require(not unknown, f"{label} has no parameter {', '.join(unknown)}; it has: {has}.")


def parameters(function: Callable[..., Any]) -> dict[str, Parameter]:
    """The parameters of a method's `predict` or `fit` by name, without the arguments that every method has."""
    known = inspect.signature(function).parameters.values()
    own = [one for one in known if one.kind is one.KEYWORD_ONLY and one.name not in ("prompts", *PARTS)]
    return {one.name: Parameter(one.annotation, one.default) for one in own}


def training_parameters(method: Any, name: str) -> dict[str, Parameter]:
    """The parameters of the `fit` of a method, called `name` in METHODS: its own, and the fields of its `Settings`.

    Raises
    ------
    ParameterError
        If the method cannot be trained.
    """
    if not hasattr(method, "fit"):
        from cellcount.methods import METHODS

        able = ", ".join(other for other in METHODS if hasattr(METHODS[other], "fit"))
        raise ParameterError(f"{name} cannot be trained; these methods can: {able}.")
    found = parameters(method.fit)
    settings = getattr(method, "Settings", None)
    if settings is not None:
        found |= {"preset": Parameter(str, "")} if settings.PRESETS else {}
        found |= {field.name: Parameter(field.type, field.default) for field in fields(settings)}
    return found


@dataclass(frozen=True)
class TrainingSettings:
    """Base of a method's `Settings`: a frozen dataclass of all that determines a training, besides the samples.

    A subclass sets `LABEL`, the method's name in messages; `FREE`, the names of numbers that need not be positive;
    `CHOICES`, the values that some fields can have; and `PRESETS`, fields by the name of a preset, the first of which
    is the default. A field can be None only if that is its default.

    Raises
    ------
    ParameterError
        If a field has another type, or is out of range.
    """

    LABEL: ClassVar[str] = "training"
    FREE: ClassVar[Sequence[str]] = ("seed", "weight_decay")
    CHOICES: ClassVar[Mapping[str, Sequence[str]]] = {}
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if isinstance(value, list):  # from JSON
                object.__setattr__(self, name, tuple(value))
            check_value(self.LABEL, name, value, field.type)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            choice = ", or None to have it chosen" if field.default is None else ""
            free = not number or name in self.FREE or value > 0
            require(free, f"{name}={value!r} must be positive{choice}.")
            known = self.CHOICES.get(name, [value])
            require(value in known, f"{name}={value!r} is unknown; choose one of {', '.join(map(str, known))}.")

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        """Settings from keyword parameters of `fit`, `preset` among them where there are presets.

        Raises
        ------
        ParameterError
            If a parameter or the preset is unknown, with those that are known, or a field is refused.
        """
        names = [field.name for field in fields(cls)]
        refuse_unknown(cls.LABEL, params, ["preset", *names] if cls.PRESETS else names)
        preset = params.get("preset", next(iter(cls.PRESETS), ""))
        known = not cls.PRESETS or preset in cls.PRESETS
        require(known, f"preset={preset!r} is unknown; choose one of {', '.join(cls.PRESETS)}.")
        chosen = {**cls.PRESETS.get(preset, {}), **params}
        return cls(**{name: value for name, value in chosen.items() if name != "preset"})


def need_points(samples: Sequence[Sample], label: str) -> None:
    """Raise a DataError unless every sample is annotated and one has a point; `label` names the method."""
    for sample in samples:
        if sample.points is None:
            raise DataError(f"{sample.name}: no annotation; {label} learns from centre points. Leave this image out.")
    if not any(len(sample.points) for sample in samples if sample.points is not None):
        raise DataError(f"None of the training images has a point; {label} needs at least one annotated cell.")


def from_text(label: str, given: Iterable[tuple[str, str]], known: Mapping[str, Parameter]) -> dict[str, Any]:
    """Parameters from pairs of texts (name, value) of the command line, converted to the types of `known`.

    Raises
    ------
    ParameterError
        If a name is unknown, or a value cannot be read, with an example of one that can.
    """
    params = {}
    for name, text in given:
        refuse_unknown(label, [name], known)
        kind, default = known[name]
        try:
            params[name] = _value(text, kind)
        except (ValueError, KeyError) as error:
            example = (2 if "int" in str(kind) else 2.5) if default in (None, inspect.Parameter.empty) else default
            raise ParameterError(f"-p {name} {text}: expected a value like {example}.") from error
    return params


def _value(text: str, kind: Any) -> Any:
    """Text as a value of a type like `int | None`, `str | Path`, `tuple[int, ...]` or `bool`."""
    if get_origin(kind) is tuple:
        return tuple(get_args(kind)[0](part) for part in text.split(","))
    if get_origin(kind) is Literal:
        return text
    kinds = get_args(kind) or (kind,)
    if NoneType in kinds and text in ("None", "none"):
        return None
    if len(kinds) > 1:
        return _value(text, kinds[0])
    if kind is bool:
        return BOOLEANS[text.lower()]
    if kind in (int, float, str, Path):
        return kind(text)
    raise ValueError(f"{kind} cannot be given as text")


def sampled(image: Any) -> np.ndarray:
    """(H, W) pixels from which the quantiles of a whole image are measured: itself, or the sample of a `LargeImage`."""
    return getattr(image, "sample", image)


def middle(image: Any, side: int) -> np.ndarray:
    """The central part, (H, W) float32 at full resolution, of an image or `LargeImage`, at most `side` px wide."""
    (y0, y1), (x0, x1) = (((n - min(n, side)) // 2, (n + min(n, side)) // 2) for n in image.shape)
    return image[y0:y1, x0:x1]
