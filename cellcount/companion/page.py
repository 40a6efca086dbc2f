"""What every chapter of the book shares: set-up, figures, glued values, and the folder of its result files."""

import io
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
from IPython.display import Image, display
from matplotlib.figure import Figure

from cellcount.companion.plots.style import DPI

try:
    from myst_nb import glue
except ImportError:  # Colab has no myst_nb

    def glue(name: str, value: object, display: bool = False) -> None:
        """Do nothing where no book is rendered."""


PHOTOGRAPH = 64 * 64  # px: a larger image is a micrograph, of which a JPEG is a third of the size


def setup() -> None:
    """Set what every chapter shares: sharp figures in pages of the book, and no progress bars in them."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets on stderr
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("png")
    plt.rcParams.update({"figure.dpi": DPI, "savefig.dpi": DPI, "figure.facecolor": "none"})


def figure(fig: Figure) -> None:
    """Show a matplotlib Figure as PNG of 256 colours, or as JPEG if it has an image of at least `PHOTOGRAPH` pixels.

    It is closed first: an open figure would be shown a second time at the end of the cell.
    """
    plt.close(fig)
    pictures = [picture for axes in fig.axes for picture in axes.images]
    photograph = any(np.prod(picture.get_size()) >= PHOTOGRAPH for picture in pictures)
    drawn, file = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", dpi=(0.75 if photograph else 1) * DPI, bbox_inches="tight", facecolor="white")
    image = PIL.Image.open(drawn).convert("RGB")
    if photograph:
        image.save(file, "jpeg", quality=68, optimize=True)
    else:
        few = image.quantize(256, method=PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE)
        few.save(file, "png", optimize=True)
    display(Image(data=file.getvalue(), format="jpeg" if photograph else "png"))


def root() -> Path:
    """The repository (Path), the working directory or a parent of it; where there is none (Colab), the former."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "_toc.yml").exists()), here)


def run_dir() -> Path:
    """Folder (Path, made if missing) for this run's result files.

    The runner names it in CELLCOUNT_RUN_DIR; without a runner it is build/runs/adhoc of the repository, or of the
    working directory where there is no repository (Colab).
    """
    folder = Path(os.environ.get("CELLCOUNT_RUN_DIR") or root() / "build" / "runs" / "adhoc")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
