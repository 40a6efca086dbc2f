"""The metrics of all methods: matching of points and masks, errors of counts, and tuning."""

import lazy_loader

# A module is imported when one of its names is used: `match` does not wait for scipy.stats.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
