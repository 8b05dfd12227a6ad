"""Seed -> latent: the same bits on every machine, in Python and in JavaScript.

A seed must name the same character for ever, so nothing here may depend on a library's
generator or on a platform's `log`. Three steps, each built from exactly defined operations:

1. words: Philox-4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011),
   a counter-based generator: word i is a function of (seed, stream, lane, i), nothing else;
2. uniforms: 52 bits of two words, centred in their interval, so never 0 or 1;
3. normals: Wichura's PPND16 (algorithm AS 241, 1988), a ratio of polynomials, with a logarithm
   of our own. Only + - * / and sqrt, which IEEE 754 rounds alike everywhere.

`tests/js/latents.mjs` is the same in JavaScript; a test compares the bits.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

STREAM_Z = 0
"""The latent of a seed."""
STREAM_CENTRE = 1
"""The fixed latents that a truncation centre is averaged over, one per lane."""
STREAM_FILL = 2
"""The order in which label rows are tried, one word per row."""

# Second half of the Philox key: "kaog". The first half is the seed.
_KEY = 0x6B616F67
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_MASK = 0xFFFFFFFF

# AS 241's coefficients, constant term first, for |p - 1/2| <= 0.425, and for the two tails.
_CENTRAL = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_TAIL = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_FAR_TAIL = (
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)
_SQRT_HALF = 0.7071067811865476
_LN2 = 0.6931471805599453
# 1/(2k+1), k = 0..10: log m = 2 (s + s^3/3 + ...), s = (m-1)/(m+1) <= 0.172; the rest < 1e-18.
_ATANH = tuple(1.0 / (2 * k + 1) for k in range(11))


def words(seed: int, stream: int, count: int, lane: int = 0) -> Words:
    """The first `count` 32-bit words of (seed, stream, lane); seed and lane are 0..2**32-1.

    Raises ValueError when a number is out of its range.
    """
    if not (0 <= seed <= _MASK and 0 <= stream <= _MASK and 0 <= lane <= _MASK):
        raise ValueError("seed, stream and lane are 32-bit unsigned numbers")
    blocks = (count + 3) // 4
    c0 = np.arange(blocks, dtype=np.uint64)
    c1 = np.full(blocks, lane, np.uint64)
    c2 = np.full(blocks, stream, np.uint64)
    c3 = np.zeros(blocks, np.uint64)
    k0, k1 = seed, _KEY
    for _ in range(_ROUNDS):
        product0 = c0 * np.uint64(_MULTIPLIERS[0])
        product1 = c2 * np.uint64(_MULTIPLIERS[1])
        c0, c2 = (
            (product1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            (product0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
        )
        c1, c3 = product1 & np.uint64(_MASK), product0 & np.uint64(_MASK)
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return np.stack([c0, c1, c2, c3], axis=1).reshape(-1)[:count].astype(np.uint32)


def uniforms(pairs: Words) -> Doubles:
    """Words [2n] -> doubles [n] in (0, 1): the top 26 bits of each word of a pair, plus a half."""
    high = (pairs[0::2] >> np.uint32(6)).astype(np.float64)
    low = (pairs[1::2] >> np.uint32(6)).astype(np.float64)
    return (high * 67108864.0 + low + 0.5) * 2.0**-52


def normals(p: Doubles) -> Doubles:
    """Inverse of the normal distribution function, by AS 241; p in (0, 1), any shape."""
    q = p - 0.5
    near = 0.180625 - q * q
    centre = q * (_poly(_CENTRAL[0], near) / _poly(_CENTRAL[1], near))
    # Both tails by symmetry; the smaller side keeps the precision.
    r = np.sqrt(-_log(np.where(q < 0, p, 1.0 - p)))
    tail = _poly(_TAIL[0], r - 1.6) / _poly(_TAIL[1], r - 1.6)
    far = _poly(_FAR_TAIL[0], r - 5.0) / _poly(_FAR_TAIL[1], r - 5.0)
    outside = np.where(r <= 5.0, tail, far)
    return np.where(near >= 0, centre, np.where(q < 0, -outside, outside))


def z(seed: int, dim: int, *, stream: int = STREAM_Z, lane: int = 0) -> Floats:
    """The latent of `seed`: float32 [dim], independent standard normals."""
    return normals(uniforms(words(seed, stream, 2 * dim, lane))).astype(np.float32)


def centre_samples(count: int, dim: int) -> Floats:
    """The fixed latents [count, dim] that the centre of w given the tags is averaged over."""
    return np.stack([z(0, dim, stream=STREAM_CENTRE, lane=k) for k in range(count)])


def mix(a: Floats, b: Floats, t: float) -> Floats:
    """From a (t = 0) to b (t = 1) along the arc, so that the mixture is a standard normal too.

    The weights (1-t, t) / |(1-t, t)| trace the same quarter circle as (cos, sin) would, without
    functions that differ between platforms. Two latents are nearly orthogonal, so this is what
    spherical interpolation does.
    """
    if t <= 0.0:
        return a
    length = np.sqrt((1.0 - t) * (1.0 - t) + t * t)
    left, right = (1.0 - t) / length, t / length
    mixed: Doubles = a.astype(np.float64) * left + b.astype(np.float64) * right
    return mixed.astype(np.float32)


def _poly(coefficients: Sequence[float], x: Doubles) -> Doubles:
    """Horner's rule, one rounding per operation (numpy never fuses multiply and add)."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def _log(x: Doubles) -> Doubles:
    """Natural logarithm of positive normal numbers, from exact operations only."""
    m, exponent = np.frexp(x)
    small = m < _SQRT_HALF
    m = np.where(small, m * 2.0, m)
    e = exponent.astype(np.float64) - small
    s = (m - 1.0) / (m + 1.0)
    return e * _LN2 + 2.0 * s * _poly(_ATANH, s * s)
