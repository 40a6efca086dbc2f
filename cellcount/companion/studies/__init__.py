"""Controlled experiments and measurements: each gives result rows, and tables of them."""
