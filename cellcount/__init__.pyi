__version__: str
__all__ = ["METHODS", "Prediction", "Result", "Sample", "count", "load", "match", "train"]

from .counting import Result, count, train
from .data import load
from .methods import METHODS
from .metrics import match
from .types import Prediction, Sample
