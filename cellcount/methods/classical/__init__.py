"""Methods of image processing that learn nothing: a filter answers to what looks like a cell, and its peaks are cells.

Each module has `answer`, the map, beside `predict`, its peaks; `watershed` has regions instead.
"""
