__all__ = [
    "COLUMNS", "MASK_COLUMNS", "commit", "mask_rows", "mask_summary", "peak_memory_mb", "provenance", "read", "rows",
    "summary", "table", "timed", "write",
]  # fmt: skip

from .provenance import commit, peak_memory_mb, provenance, timed
from .rows import COLUMNS, MASK_COLUMNS, mask_rows, read, rows, table, write
from .summary import mask_summary, summary
