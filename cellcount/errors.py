"""The errors a user can meet. Each message says what is wrong, where, and what to do."""


class CellcountError(Exception):
    """Base of every error that this package raises on purpose; the command line prints it without a traceback."""

    exit_code = 1


class DataError(CellcountError):
    """An image or an annotation cannot be used as it is."""

    exit_code = 3


class NotAvailableError(CellcountError):
    """Something that must be fetched or installed is not here: data, weights, or a package."""

    exit_code = 4


class ParameterError(CellcountError):
    """A parameter is unknown or outside of its range."""

    exit_code = 2
