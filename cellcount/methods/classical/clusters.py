"""Clustering of pixels by local features, without labels: cells are where one cluster is dense."""

from typing import Any

import numpy as np
from scipy import ndimage

from cellcount.methods.base import middle
from cellcount.methods.classical.maps import peaks_of

SIGMAS = (2.0, 4.0, 8.0)  # px; from a nucleolus to half a cell
PIXELS = 4096  # on which k-means is fitted
LARGEST = 8192  # px; of a larger image only the middle is used


def features(image: np.ndarray) -> np.ndarray:
    """Local features of each pixel: the smoothed intensity, its gradient, and its Laplacian, at three widths.

    Parameters
    ----------
    image : (H, W) float32

    Returns
    -------
    (H, W, 9) float32
    """
    filters = (ndimage.gaussian_filter, ndimage.gaussian_gradient_magnitude, ndimage.gaussian_laplace)
    found = [sigma**order * apply(image, sigma) for sigma in SIGMAS for order, apply in enumerate(filters)]
    return np.stack(found, axis=-1)


def context(image: Any, **params: Any) -> dict[str, Any]:
    """Pixels of the whole image on which k-means is fitted, as keyword argument of `predict` for its tiles.

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
    """Cluster the pixels by k-means of their standardised features (Lloyd 1982).

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    clusters : int
    seed : int
        Of the initial centres of k-means.
    pixels : (K, 9) float32 or None
        From `context`, when `image` is only a tile.

    Returns
    -------
    (H, W) int32
        0 is the cluster of the darkest blobs (the largest Laplacian at the middle width), and so on. A constant image
        has no clusters: every pixel is `clusters`.
    """
    from sklearn.cluster import KMeans

    pixels = context(image)["pixels"] if pixels is None else pixels
    middle, spread = pixels.mean(axis=0), np.maximum(pixels.std(axis=0), 1e-6)
    if spread.max() <= 1e-5:
        return np.full(image.shape, clusters, np.int32)
    kmeans = KMeans(clusters, n_init=3, random_state=seed).fit((pixels - middle) / spread)
    rank = np.argsort(np.argsort(-kmeans.cluster_centers_[:, 5]))  # 5: the Laplacian at the middle width
    flat = (features(image).reshape(-1, len(middle)) - middle) / spread
    return rank[kmeans.predict(flat)].reshape(image.shape).astype(np.int32)


def answer(
    image: np.ndarray,
    *,
    clusters: int = 6,
    kept: int = 1,
    sigma: float = 4.0,
    seed: int = 0,
    pixels: np.ndarray | None = None,
) -> np.ndarray:
    """Share of a pixel's neighbourhood that belongs to the darkest clusters.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    clusters : int
    kept : int
        How many of the clusters are cells, the darkest first.
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


predict, _, status = peaks_of(answer, "clusters", "sklearn", threshold=0.3)
