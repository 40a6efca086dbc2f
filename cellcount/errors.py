"""The errors of this package, and checks that raise them. Each message says what is wrong, where, and what to do."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

DISTRIBUTION = "cellcount-points"  # its name on PyPI


class CellcountError(Exception):
    """Base of every error that this package raises on purpose; the command line prints it without a traceback."""

    exit_code = 1


class DataError(CellcountError):
    """An image or an annotation cannot be used as it is."""

    exit_code = 3


class NotAvailableError(CellcountError):
    """Something that must be fetched or installed is missing: data, weights, or a package."""

    exit_code = 4


class ParameterError(CellcountError):
    """A parameter is unknown or outside of its range."""

    exit_code = 2


Value = TypeVar("Value")


def require(condition: object, message: str, error: type[CellcountError] = ParameterError) -> None:
    """Raise an error with this message unless the condition is true."""
    if not condition:
        raise error(message)


def one_of(value: Value, known: Iterable[Value], name: str) -> Value:
    """The value of a parameter, if it is a known one. Raises ParameterError with the known values."""
    require(value in known, f"{name}={value!r} is unknown; use one of {', '.join(map(str, known))}.")
    return value


def check_positive(label: str, **numbers: float) -> None:
    """Raise a ParameterError, which names `label` and the number, if one of the numbers is not positive."""
    for name, value in numbers.items():
        require(value > 0, f"{label}: {name}={value!r} must be positive.")


SMALLEST_EXTRA = {"pandas": "data", "skimage": "data"}  # package: the extra that installs little else


def install(extra: str | None = None) -> str:
    """The command that installs this distribution, with an extra."""
    return f"pip install '{DISTRIBUTION}{f'[{extra}]' if extra else ''}'"


@contextmanager
def needing(extra: str | None, what: str) -> Iterator[None]:
    """Turn the import error of a package that is not installed into a NotAvailableError that says how to get it.

    Parameters
    ----------
    extra : str or None
        The extra of this distribution that installs the package; None if every installation should have it.
    what : str
        What needs the package: the beginning of the message.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "cellcount").startswith("cellcount"):
            raise  # a bug of this package
        command = install(SMALLEST_EXTRA.get(error.name or "", extra))
        raise NotAvailableError(f"{what} needs {error.name}, which is not installed: {command}.") from error
