"""Fit the shipped constant anew: `python -m cellcount.methods.foreground FILE`."""

import sys

from cellcount import data
from cellcount.methods.foreground import fit

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m cellcount.methods.foreground FILE")
    print(fit(data.load("thesis", names=["1", "2"]), out=sys.argv[1]))
