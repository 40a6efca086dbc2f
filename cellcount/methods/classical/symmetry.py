"""Local phase: where waves of several lengths have a common trough, whatever their amplitude."""

import numpy as np
from scipy import fft, ndimage

from cellcount.methods.classical.maps import contrast_of, peaks_of

BANDWIDTH = 0.55  # of a log-Gabor filter, relative to its frequency: about two octaves (Kovesi 1999)


def monogenic(image: np.ndarray, wavelength: float) -> tuple[np.ndarray, np.ndarray]:
    """Even and odd part of an image at one wavelength.

    The monogenic signal (Felsberg and Sommer 2001, doi:10.1109/78.969520) is the analytic signal in two dimensions:
    the band-passed image, and its Riesz transform, which shifts every wave by a quarter of its length. Their ratio
    is the local phase: 0 on a crest, pi in a trough, pi / 2 on a slope. The band is a log-Gabor filter (Field 1987).

    Parameters
    ----------
    image : (H, W) float
    wavelength : float, px

    Returns
    -------
    even, odd : (H, W) float32
        `odd` is the length of the Riesz transform, not negative.
    """
    pad = int(min(2 * wavelength, min(image.shape) - 1))
    padded = np.pad(np.asarray(image, np.float32), pad, mode="reflect")  # the transform treats it as periodic
    shape = [fft.next_fast_len(side) for side in padded.shape]
    fy, fx = fft.fftfreq(shape[0])[:, None], fft.fftfreq(shape[1])[None]
    radius = np.hypot(fy, fx)
    radius[0, 0] = 1.0  # its filter is 0 anyway
    gabor = np.exp(-(np.log(radius * wavelength) ** 2) / (2 * np.log(BANDWIDTH) ** 2))
    gabor[0, 0] = 0.0
    spectrum = fft.fft2(padded, shape) * gabor.astype(np.float32)
    # Both Riesz transforms are real, so that one complex transform gives the pair.
    riesz = fft.ifft2(spectrum * ((1j * fx - fy) / radius).astype(np.complex64))
    inner = np.s_[pad : pad + image.shape[0], pad : pad + image.shape[1]]
    return fft.ifft2(spectrum).real[inner], np.abs(riesz)[inner]


def answer(
    image: np.ndarray,
    *,
    wavelength: float = 20.0,
    scales: int = 3,
    ratio: float = 1.6,
    noise: float = 0.2,
    sigma: float = 2.0,
    contrast: float | None = None,
) -> np.ndarray:
    """Phase symmetry of dark blobs (Kovesi 1997, "Symmetry and asymmetry from local phase").

    The sum over the wavelengths of (-even - odd), divided by the sum of the amplitudes: 1 where all waves are in a
    trough, whatever their amplitude.

    Parameters
    ----------
    image : (H, W) float32 in [0, 1]
    wavelength : float, px
        The shortest; the others are `ratio`, `ratio`^2, ... times as long.
    scales : int
    ratio : float
    noise : float
        Added to the amplitudes, in units of the image's contrast: without it, noise is as symmetric as a cell.
    sigma : float, px
        Gaussian smoothing of the result.
    contrast : float or None
        Standard deviation of the whole image, from `context`, when `image` is only a tile.

    Returns
    -------
    (H, W) float32 in [0, 1]
    """
    energy, amplitude = 0.0, scales * noise * contrast_of(image, contrast)
    for scale in range(scales):
        even, odd = monogenic(image, wavelength * ratio**scale)
        energy = energy - even - odd
        amplitude = amplitude + np.hypot(even, odd)
    return ndimage.gaussian_filter(np.maximum(energy, 0) / amplitude, sigma)


predict, context, status = peaks_of(answer, "symmetry", threshold=0.1)
