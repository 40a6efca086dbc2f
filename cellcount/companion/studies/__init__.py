"""Controlled experiments: each makes result rows, one training after the other, and goes on where it was stopped."""

from cellcount.companion.studies.jobs import run_jobs

__all__ = ["run_jobs"]
