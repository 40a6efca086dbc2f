"""Methods of image processing, without training: a filter enhances what looks like a cell, and its peaks are cells.

Each module has `answer`, the map, beside `predict`, its peaks; `watershed` has regions instead.
"""
