"""Tidy result rows with their provenance, and summaries of them."""

import lazy_loader

# A module is imported when one of its names is used: `timed` and `commit` do not need pandas.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
