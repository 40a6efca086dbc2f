"""Pixels in; annotations in and out: every exchange format is one module."""
