"""Foreground by optics: restore the phase of the cells by inverting the phase-contrast microscope."""

from collections.abc import Sequence

import numpy as np
from scipy import fft

from cellcount.data.phantom.optics import APERTURE, RING_BLUR, RING_TRANSMISSION
from cellcount.methods.foreground.texture import relative_light
from cellcount.methods.pixels import block_mean, enlarged

CAMERA = 0.6  # px; blur of objective and pixel together
MARGIN = 48  # px mirrored around the image, since the Fourier transform treats it as periodic


def restore(
    image: np.ndarray,
    *,
    prompts: object = None,
    device: str = "auto",
    smooth: float = 0.2,
    sparse: float = 0.001,
    width: float = 1.0,
    factor: int = 2,
    iterations: int = 40,
) -> np.ndarray:
    """The phase of a specimen from its phase-contrast image.

    For small phases the square root of the intensity is linear in the phase, sqrt(I) = 1 - H phi / zeta, where H is 1
    minus the low-pass of the phase ring (`cellcount.data.phantom.optics`). H vanishes at low frequencies, so that its
    inverse needs assumptions on the phase. As in Yin, Kanade and Chen (2012), doi:10.1016/j.media.2011.12.006, it is
    not negative, smooth, and zero in most places:

        minimise  |H phi - g|^2 / 2 + smooth |grad phi|^2 / 2 + sparse sum(phi),   phi >= 0,   g = zeta (1 - sqrt(I)).

    They use a multiplicative update; this is accelerated projected gradient descent (FISTA: Beck and Teboulle 2009,
    doi:10.1137/080716542) with H as a product in the Fourier domain.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    prompts, device
        Not used: every foreground function takes them.
    smooth, sparse : float
        Weights of the two penalties; `sparse` in rad.
    width : float
        Factor on the widths of the ring's low-pass, which were fitted to the halos of the thesis' images at 20x.
    factor : int
        The image is downsampled by it first, which is fine enough for the borders of cells.
    iterations : int

    Returns
    -------
    (H, W) float32, rad
        0 on background. Rounded cells, which delay light by about a whole wave, come out too low or as zero.
    """
    light = block_mean(relative_light(image), factor)
    margin = min(MARGIN // factor, *(side - 1 for side in light.shape))
    signal = np.pad(RING_TRANSMISSION * (1 - np.sqrt(np.maximum(light, 0))), margin, mode="reflect")
    phase = _solve(signal.astype(np.float32), smooth / factor**2, sparse, width, factor, iterations)
    phase = phase[margin : margin + light.shape[0], margin : margin + light.shape[1]]
    return enlarged(phase, factor, image.shape, linear=True)


def transfer(shape: Sequence[int], *, width: float = 1.0, factor: int = 1) -> np.ndarray:
    """The transfer function of the microscope for the phase: 0 at frequency 0, then 1, then falling with the blur.

    Parameters
    ----------
    shape : (H, W), px
    width, factor
        As in `restore`.

    Returns
    -------
    (H, W // 2 + 1) float32, in the order of `scipy.fft.rfft2`
    """
    squared = fft.fftfreq(shape[0])[:, None] ** 2 + fft.rfftfreq(shape[1])[None] ** 2

    def gaussian(sigma):
        return np.exp(-2 * (np.pi * sigma / factor) ** 2 * squared)

    ring = sum(share * gaussian(width * sigma) for sigma, share in RING_BLUR)
    return ((1 - ring) * gaussian(APERTURE) * gaussian(CAMERA)).astype(np.float32)


def _solve(signal, smooth, sparse, width, factor, iterations):
    """(H, W) float32 rad: the minimum described in `restore`, for a signal g (H, W)."""
    shape = [fft.next_fast_len(side, real=True) for side in signal.shape]
    signal = np.pad(signal, [(0, n - side) for n, side in zip(shape, signal.shape)], mode="symmetric")
    kernel = transfer(shape, width=width, factor=factor)
    rows, columns = np.cos(2 * np.pi * fft.fftfreq(shape[0])), np.cos(2 * np.pi * fft.rfftfreq(shape[1]))
    laplacian = (4 - 2 * rows[:, None] - 2 * columns[None]).astype(np.float32)  # of the five-point stencil
    curvature = kernel**2 + np.float32(smooth) * laplacian
    pull = fft.irfft2(kernel * fft.rfft2(signal), shape) - np.float32(sparse)
    step = 1 / curvature.max()
    phase = ahead = np.zeros(shape, np.float32)
    momentum = 1.0
    for _ in range(iterations):
        slope = fft.irfft2(curvature * fft.rfft2(ahead), shape) - pull
        following = np.maximum(ahead - step * slope, 0)
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = following + np.float32((momentum - 1) / grown) * (following - phase)
        phase, momentum = following, grown
    return phase
