"""Clustering of pixels: sort them by how their surroundings look, without any label, and look where a sort gathers."""

from typing import Any

import numpy as np
from scipy import ndimage

from cellcount.methods.base import Status, middle, predicts, ready
from cellcount.methods.classical.maps import as_prediction, positive
from cellcount.types import Prediction

__all__ = ["answer", "context", "predict", "segment", "status"]

SIGMAS = (2.0, 4.0, 8.0)  # px; from a nucleolus to half a cell
PIXELS = 4096  # to learn the clusters from
LARGEST = 8192  # px; of an image beyond it the middle is looked at


def features(image: np.ndarray) -> np.ndarray:
    """What a pixel knows of its surroundings: at three widths the smoothed gray value, its slope, and its curvature.

    Parameters
    ----------
    image : (H, W) float32

    Returns
    -------
    (H, W, 9) float32
    """
    found = []
    for sigma in SIGMAS:
        found.append(ndimage.gaussian_filter(image, sigma))
        found.append(sigma * ndimage.gaussian_gradient_magnitude(image, sigma))
        found.append(sigma**2 * ndimage.gaussian_laplace(image, sigma))
    return np.stack(found, axis=-1)


def context(image: Any, **params: Any) -> dict[str, Any]:
    """Pixels of the whole image to learn the clusters from, as keyword argument of `predict` for its tiles.

    Parameters
    ----------
    image : (H, W) float32, or a `LargeImage`, whose middle stands for the whole

    Returns
    -------
    dict with `pixels`, (about 4096, 9) float32: the features on an even grid
    """
    image = middle(image, LARGEST)
    step = max(1, int(np.sqrt(image.size / PIXELS)))
    return {"pixels": features(image)[step // 2 :: step, step // 2 :: step].reshape(-1, 3 * len(SIGMAS))}


def segment(image: np.ndarray, *, clusters: int = 6, seed: int = 0, pixels: np.ndarray | None = None) -> np.ndarray:
    """Sort the pixels by k-means of their standardised features (Lloyd 1982).

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    clusters : int
    seed : int
        Of the starting points of k-means.
    pixels : (K, 9) float32 or None
        From `context`, when `image` is only a tile.

    Returns
    -------
    (H, W) int32
        0 is the cluster that lies deepest in the middle (the largest Laplacian at the middle width), and so on. An
        even image has nothing to sort: it is `clusters`, which is none of them, everywhere.
    """
    from sklearn.cluster import KMeans

    pixels = context(image)["pixels"] if pixels is None else pixels
    middle, spread = pixels.mean(axis=0), np.maximum(pixels.std(axis=0), 1e-6)
    if spread.max() <= 1e-5:
        return np.full(image.shape, clusters, np.int32)
    sorting = KMeans(clusters, n_init=3, random_state=seed).fit((pixels - middle) / spread)
    rank = np.argsort(np.argsort(-sorting.cluster_centers_[:, 5]))  # 5: the Laplacian at the middle width
    flat = (features(image).reshape(-1, len(middle)) - middle) / spread
    return rank[sorting.predict(flat)].reshape(image.shape).astype(np.int32)


def answer(
    image: np.ndarray,
    *,
    clusters: int = 6,
    kept: int = 1,
    sigma: float = 4.0,
    seed: int = 0,
    pixels: np.ndarray | None = None,
) -> np.ndarray:
    """Share of the surroundings that belongs to the deepest clusters.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    clusters : int
    kept : int
        How many of the clusters are taken for cells, the deepest first.
    sigma : float, px
        Width of the Gaussian window.
    seed, pixels
        As in `segment`.

    Returns
    -------
    (H, W) float32 in [0, 1]
    """
    cell = segment(image, clusters=clusters, seed=seed, pixels=pixels) < kept
    return ndimage.gaussian_filter(cell.astype(np.float32), sigma)


@predicts("clusters")
def predict(
    image: np.ndarray,
    *,
    prompts: None = None,
    device: str = "auto",
    clusters: int = 6,
    kept: int = 1,
    sigma: float = 4.0,
    threshold: float = 0.3,
    distance: float = 8.0,
    seed: int = 0,
    pixels: np.ndarray | None = None,
) -> Prediction:
    """Peaks of `answer`.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts : None
    device : str
        Not used: it runs on the CPU.
    clusters, kept, sigma, seed, pixels
        As in `answer`.
    threshold : float in [0, 1]
        Lowest share.
    distance : float, px
        A cell is the strongest answer within this distance on each axis.

    Returns
    -------
    Prediction

    Raises
    ------
    DataError
        If the image is not (H, W).
    ParameterError
        If a parameter is not positive, or prompts are given.
    """
    positive("clusters", clusters=clusters, kept=kept, sigma=sigma, distance=distance)
    found = answer(image, clusters=clusters, kept=kept, sigma=sigma, seed=seed, pixels=pixels)
    return as_prediction(found, "clusters", threshold=threshold, distance=distance)


def status() -> Status:
    """Ready where its package is installed."""
    return ready("no training needed", "sklearn")
