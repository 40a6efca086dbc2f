"""Tidy result rows with their provenance, and summaries of them."""

from cellcount.results.provenance import commit, peak_memory_mb, provenance, timed
from cellcount.results.rows import COLUMNS, MASK_COLUMNS, mask_rows, read, rows, table, write
from cellcount.results.summary import mask_summary, summary

__all__ = [
    "COLUMNS", "MASK_COLUMNS", "commit", "mask_rows", "mask_summary", "peak_memory_mb", "provenance", "read", "rows",
    "summary", "table", "timed", "write",
]  # fmt: skip
