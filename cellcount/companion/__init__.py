"""The companion of the thesis: studies, figures, tables, kept results, and what runs the chapters."""
