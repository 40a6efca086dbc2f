"""What can be fetched: the table of data sets, the table of weights, and how a file is fetched and verified."""

import lazy_loader

# A table is read when one of its names is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
