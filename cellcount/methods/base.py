"""The contract that every method keeps, and the checks that all of them share."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, TypeVar, Union, get_args, get_origin

import numpy as np

from cellcount.errors import SMALLEST_EXTRA, CellcountError, DataError, ParameterError, install, needing
from cellcount.methods.prompts import Prompts
from cellcount.types import Prediction, Sample, as_points

CONTEXT = ("exposure", "contrast", "pixels")  # what `context` tells of a whole image; not named to users
PARTS = ("device", "progress", "out")  # arguments of every call, which are no parameters of a method
HINTS = {
    "weights": "a file written by `cellcount train`",
    "prompts": "points, or what `cellcount.methods.prompts` makes",
}


class Status(NamedTuple):
    """`state` is "ready", "needs weights" or "needs package"; `detail` says which, how large, and where to put it."""

    state: str
    detail: str


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
    """What every entry of `cellcount.METHODS` offers.

    Those that can be trained have `fit(samples, *, out, device="auto", progress=True, **params) -> Path` and
    `Settings`, the dataclass of its parameters, as well; some have `predict_batch(images, *, device, **params)`, for
    several images of one shape, and `export(weights, out)`, for a file that counts without torch.
    """

    @property
    def predict(self) -> Callable[..., Prediction]:
        """`predict(image, *, prompts=None, device="auto", **params) -> Prediction`, made by `predicts`."""

    def context(self, image: Any, **params: Any) -> dict[str, Any]:
        """What a tile must know of its whole image (exposure, diameter), as further arguments of `predict`.

        image : (H, W) float32 in [0, 1], or a `LargeImage`; params : the arguments that `predict` will be given.
        """

    def status(self) -> Status:
        """What it lacks to run on this machine."""


class Parameter(NamedTuple):
    """One parameter of a method: its type, and its default (`inspect.Parameter.empty` where one must be given)."""

    kind: Any
    default: Any


def predicts(
    label: str,
    *,
    prompts: Literal["none", "optional", "required"] = "none",
    packages: Sequence[str] = (),
) -> Callable[[Any], Any]:
    """Decorate a method's `predict(image, *, prompts, device, **params)` with the checks that all methods share.

    Parameters
    ----------
    label : str
        The method's name in messages.
    prompts : "none", "optional" or "required"
    packages : names of the packages that it is made of; they are missed before anything else

    Returns
    -------
    decorator
        The decorated function raises a DataError unless the image is (H, W) float32 with at least one pixel, a
        ParameterError for an argument that the method does not have or that it lacks, and a NotAvailableError if a
        package is not installed.
    """

    def decorate(predict: Callable[..., Prediction]) -> Callable[..., Prediction]:
        @functools.wraps(predict)
        def checked(image: np.ndarray, **given: Any) -> Prediction:
            check_call(checked, given)
            check_image(image, label)
            if given.get("prompts") is not None and not isinstance(given["prompts"], Prompts):
                given["prompts"] = as_points(given["prompts"], "prompts")
            require(label, packages)
            with needing("methods", label):
                return predict(image, **given)

        checked.label, checked.prompts = label, prompts  # type: ignore[attr-defined]  # what `check_call` reads
        return checked

    return decorate


def require(label: str, packages: Iterable[str]) -> None:
    """Raise a NotAvailableError, which names the method by `label`, if a package is not installed."""
    with needing("methods", label):
        for package in packages:
            if find_spec(package) is None:
                raise ModuleNotFoundError(name=package)


def check_image(image: np.ndarray, label: str) -> None:
    """Raise a DataError unless `image` is (H, W) float32 with at least one pixel."""
    if not isinstance(image, np.ndarray) or image.ndim != 2 or image.dtype != np.float32 or not image.size:
        found = f"shape {image.shape}, {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"{label} wants an (H, W) float32 image in [0, 1], got {found}.")


def check_call(predict: Callable[..., Prediction], given: Mapping[str, Any]) -> None:
    """Raise a ParameterError if these arguments cannot be those of `predict`, one decorated by `predicts`."""
    label, prompts = predict.label, predict.prompts  # type: ignore[attr-defined]
    known = parameters(predict)
    if given.get("prompts") is not None and prompts == "none":
        raise ParameterError(f"{label} takes no prompts.")
    own = inspect.signature(predict).parameters  # `progress` is one of SAM's, and of nobody else's
    refuse_unknown(label, [name for name in given if name not in own], known)
    for name, (kind, _) in known.items():
        if name in given:
            check_value(label, name, given[name], kind)
    lacking = [name for name, known_as in known.items() if known_as.default is inspect.Parameter.empty]
    lacking += ["prompts"] if prompts == "required" else []
    for name in lacking:
        if given.get(name) is None:
            raise ParameterError(f"{label} needs {name}: {HINTS.get(name, 'it has no default')}.")


def check_value(label: str, name: str, value: Any, kind: Any) -> None:
    """Raise a ParameterError unless a value has the type of its parameter, and is finite if it is a number."""
    if not _fits(value, kind):
        wanted = getattr(kind, "__name__", str(kind)) if get_origin(kind) is None else str(kind)
        raise ParameterError(f"{label}: {name}={value!r:.60} must be {wanted}.")
    numbers = value if isinstance(value, (tuple, list)) else [value]
    if any(isinstance(number, (float, np.floating)) and not np.isfinite(number) for number in numbers):
        raise ParameterError(f"{label}: {name}={value!r} must be a finite number.")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type like `int | None`, `tuple[int, ...]` or `str | Path`; of others nothing is known."""
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, (tuple, list)) and all(_fits(part, get_args(kind)[0]) for part in value)
    if kind is bool or isinstance(value, (bool, np.bool_)):
        return kind not in (int, float, str, Path, NoneType) and (
            kind is not bool or isinstance(value, (bool, np.bool_))
        )
    numbers = {int: (int, np.integer), float: (int, float, np.integer, np.floating)}
    return not isinstance(kind, type) or isinstance(value, numbers.get(kind, kind))


def refuse_unknown(label: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise a ParameterError if one of `names` is not `known`, which lists those that are."""
    unknown = sorted(set(names) - set(known))
    if unknown:
        has = ", ".join(name for name in known if name not in CONTEXT) or "none"
        raise ParameterError(f"{label} has no parameter {', '.join(unknown)}; it has: {has}.")


def parameters(function: Callable[..., Any]) -> dict[str, Parameter]:
    """The parameters of a method's `predict` or `fit` by name; those that every call has are left out."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and name not in ("prompts", *PARTS):
            found[name] = Parameter(parameter.annotation, parameter.default)
    return found


def training_parameters(method: Any, name: str) -> dict[str, Parameter]:
    """The parameters of the `fit` of a method, called `name` in METHODS: its own, and the fields of its `Settings`.

    Raises
    ------
    ParameterError
        If the method cannot be trained.
    """
    if not hasattr(method, "fit"):
        raise ParameterError(f"{name} cannot be trained; choose a method with `fit`, such as cellnet.")
    found = parameters(method.fit)
    settings = getattr(method, "Settings", None)
    if settings is not None:
        found |= {"preset": Parameter(str, "")} if settings.PRESETS else {}
        found |= {field.name: Parameter(field.type, field.default) for field in fields(settings)}
    return found


@dataclass(frozen=True)
class TrainingSettings:
    """Base of a method's `Settings`: a frozen dataclass of everything that decides what `fit` gives, besides samples.

    A subclass sets `LABEL`, the method's name in messages; `POSITIVE`, the names of fields that must be positive (or
    None, where that is their default); `CHOICES`, the values that some fields can have; and `PRESETS`, fields by the
    name of a preset, the first of which is the default.

    Raises
    ------
    ParameterError
        If a field has another type, or is out of range.
    """

    LABEL: ClassVar[str] = "training"
    POSITIVE: ClassVar[Sequence[str]] = ()
    CHOICES: ClassVar[Mapping[str, Sequence[str]]] = {}
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if isinstance(value, list):  # from JSON
                object.__setattr__(self, name, tuple(value))
            check_value(self.LABEL, name, value, field.type)
            if name in self.POSITIVE and value is not None and not value > 0:
                choice = ", or None to have it chosen" if field.default is None else ""
                raise ParameterError(f"{name}={value!r} must be positive{choice}.")
            if name in self.CHOICES and value not in self.CHOICES[name]:
                raise ParameterError(f"{name}={value!r} is unknown; choose one of {', '.join(self.CHOICES[name])}.")

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
        if cls.PRESETS and preset not in cls.PRESETS:
            raise ParameterError(f"preset={preset!r} is unknown; choose one of {', '.join(cls.PRESETS)}.")
        chosen = {**cls.PRESETS.get(preset, {}), **params}
        chosen.pop("preset", None)
        return cls(**chosen)


def need_points(samples: Sequence[Sample], label: str) -> None:
    """Raise a DataError unless every sample is annotated and one has a point; `label` names the method."""
    for sample in samples:
        if sample.points is None:
            raise DataError(f"{sample.name}: no annotation; {label} learns from centre points. Leave this image out.")
    if not any(len(sample.points) for sample in samples if sample.points is not None):
        raise DataError(f"None of the training images has a point; {label} needs at least one annotated cell.")


Kind = TypeVar("Kind")


def settings_from(
    kind: type[Kind], label: str, params: Mapping[str, Any], presets: Mapping[str, Mapping[str, Any]] | None = None
) -> Kind:
    """A settings dataclass from keyword parameters, on top of a preset where there are some (the first by default).

    Raises
    ------
    ParameterError
        If a parameter or the preset is unknown, with those that are known.
    """
    params = dict(params)
    known = [*(["preset"] if presets else []), *(field.name for field in fields(kind))]  # type: ignore[arg-type]
    refuse_unknown(label, params, known)
    if presets:
        preset = params.pop("preset", next(iter(presets)))
        if preset not in presets:
            raise ParameterError(f"preset={preset!r} is unknown; choose one of {', '.join(presets)}.")
        params = {**presets[preset], **params}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in params:
            check_value(label, field.name, params[field.name], field.type)
    return kind(**params)


def from_text(label: str, given: Iterable[tuple[str, str]], known: Mapping[str, Parameter]) -> dict[str, Any]:
    """Parameters from pairs of texts (name, value), as the command line gets them: values of the types of `known`.

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
        except ValueError as error:
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
        if text.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise ValueError(text)
        return text.lower() in ("true", "yes", "1")
    if kind in (int, float, str, Path):
        return kind(text)
    raise ValueError(f"{kind} cannot be given as text")


def sampled(image: Any) -> np.ndarray:
    """(H, W) pixels that stand for a whole image where quantiles are measured: itself, or a `LargeImage`'s sample."""
    return getattr(image, "sample", image)


def middle(image: Any, side: int) -> np.ndarray:
    """The middle part, (H, W) float32 at full resolution, of an image or `LargeImage`, at most `side` px on a side."""
    (y0, y1), (x0, x1) = (((n - min(n, side)) // 2, (n + min(n, side)) // 2) for n in image.shape)
    return image[y0:y1, x0:x1]
