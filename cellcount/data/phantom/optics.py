"""From a phase specimen to an image: phase-contrast microscope, lamp, camera, file format.

A living cell hardly absorbs light but delays it: the field behind the specimen is ``t = exp(i phi)``. The condenser
annulus is imaged onto the phase ring, where its light is attenuated and shifted by a quarter wave. The ring has a
width, so that it also affects light that broad, smooth parts of the specimen diffract into small angles: a low-pass
filtered copy L of t. All other light passes outside the ring. Behind the objective the field is

    U = (t - L) + zeta exp(-i pi/2) L,        I = |U|^2 / zeta^2,

where zeta is the amplitude transmission of the phase ring. A flat specimen gives I = 1; for small phases
I = (1 - (phi - low-pass of phi) / zeta)^2: dark bodies, and a bright halo around them, where the low-pass filtered
phase exceeds the phase. This is the model of Yin, Kanade and Chen (2012), "Understanding the phase contrast optics to
restore artifact-free microscopy images for segmentation", Medical Image Analysis 16(5):1047-1062, with two changes:
their kernel, an obscured Airy pattern, is replaced by Gaussians (the pattern decays as r^(-3/2) and its sum over a
plane does not converge absolutely, so a truncated one cannot be normalised by its sum), and the field is not
linearised, because thick cells delay light by a radian and more.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage as ndi

from cellcount.data.phantom.layout import smooth_noise
from cellcount.errors import require

RING_TRANSMISSION = 0.7  # amplitude; with 0.5 or less, rounded cells would saturate the camera
RING_BLUR = ((4.8, 0.9), (18.0, 0.1))  # (sigma px, share): width and tail of the halo in the thesis images
APERTURE = 1.1  # px; Gaussian in place of the objective's aperture, about 0.6 of its resolution


def phase_contrast(
    phase: np.ndarray,
    *,
    zeta: float = RING_TRANSMISSION,
    blur: Sequence[tuple[float, float]] = RING_BLUR,
    aperture: float = APERTURE,
) -> np.ndarray:
    """Intensity behind a positive phase-contrast objective, relative to the empty field.

    Parameters
    ----------
    phase : (H, W) float, rad
        Delay of the light in the specimen against the medium.
    zeta : float in (0, 1]
        Amplitude transmission of the phase ring.
    blur : sequence of (sigma px, share)
        Gaussians whose sum is the low-pass filter of the ring; the shares sum to 1.
    aperture : float, px
        Standard deviation of the objective's amplitude point spread function. It acts on the field, not on the
        intensity: at an edge steeper than it can resolve light is lost, and the ring's light alone makes a bright rim.

    Returns
    -------
    (H, W) float64
        1 where the specimen is flat, lower in thin phase objects, higher in their halo. Not limited above.

    Raises
    ------
    ParameterError
        If zeta is outside (0, 1] or the shares do not sum to 1.
    """
    require(0 < zeta <= 1, f"zeta is an amplitude transmission in (0, 1], not {zeta}.")
    beside, caught = split_light(phase, blur=blur, aperture=aperture)
    return np.abs(beside - 1j * zeta * caught) ** 2 / zeta**2


def split_light(
    phase: np.ndarray, *, blur: Sequence[tuple[float, float]] = RING_BLUR, aperture: float = APERTURE
) -> tuple[np.ndarray, np.ndarray]:
    """The two parts of the light behind a specimen, before the phase ring acts on one of them.

    Arguments as in `phase_contrast`.

    Returns
    -------
    beside : (H, W) complex128
        t - L: light that passes outside the phase ring, diffracted by structures finer than the low-pass filter.
    caught : (H, W) complex128
        L: light that passes through the ring: the direct light and that diffracted by broad parts of the specimen.

    Raises
    ------
    ParameterError
        If the shares do not sum to 1.
    """
    one = abs(sum(share for _, share in blur) - 1) <= 1e-9
    require(one, f"The shares of the ring's low-pass filter must sum to 1: {blur}.")
    field = ndi.gaussian_filter(np.exp(1j * np.asarray(phase, float)), aperture, mode="reflect")
    caught = sum(share * ndi.gaussian_filter(field, sigma, mode="reflect") for sigma, share in blur)
    return field - caught, caught


def photograph(
    rng: np.random.Generator,
    intensity: np.ndarray,
    *,
    level: float = 166.0,
    blur: float = 0.6,
    gradient: float = 0.03,
    shade: float = 0.012,
    tone: float = 0.35,
    noise: float = 1.0,
    quality: int = 90,
) -> np.ndarray:
    """The image that the camera stores of an intensity, with 8 bits and after JPEG compression.

    Parameters
    ----------
    rng : numpy.random.Generator
    intensity : (H, W) float
        1 is the empty field.
    level : float
        Gray value of the empty field, of 255.
    blur : float, px
        Standard deviation of the combined Gaussian blur of objective and pixel.
    gradient : float
        Relative increase of the illumination from the centre to the brightest border.
    shade : float
        Relative standard deviation of broad, smooth variations of the background.
    tone : float
        Curvature of the camera's tone curve I + tone (I - 1)^2, fitted to the thesis images' histogram: their
        halos have more contrast than their bodies, and a field with cells is brighter than an empty one.
    noise : float
        Factor on shot and read noise; 1 gives about 1.5 gray values on the empty field before compression.
    quality : int in [1, 100]
        JPEG quality.

    Returns
    -------
    (H, W) uint8
    """
    height, width = intensity.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    turn = rng.uniform(0, 2 * np.pi)
    lamp = 1 + gradient * (x * np.cos(turn) + y * np.sin(turn)) + shade * smooth_noise(rng, intensity.shape, 40)
    seen = ndi.gaussian_filter(intensity, blur)
    signal = level * lamp * (seen + tone * (seen - 1) ** 2)
    # Shot noise grows with the root of the signal; demosaicing correlates it along the rows.
    deviation = noise * np.sqrt(0.6**2 + (1.2**2) * np.maximum(signal, 0) / 160)
    grain = ndi.gaussian_filter(rng.standard_normal(intensity.shape), (0.7, 2.0))
    signal = signal + deviation * grain / grain.std()
    pixels = np.clip(np.rint(signal), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    file.seek(0)
    return np.asarray(Image.open(file))
