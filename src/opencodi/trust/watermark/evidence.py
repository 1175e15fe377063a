"""Patterns that only a key can tell from noise, and how sure it is that one was found.

A key is turned into a pattern of many frequencies, each as strong as the others, with a random phase of its own. A detector
forms the projection z = <pattern, r> / |r| of what it reads from a file, r. Whatever the file is, z of a key that has nothing
to do with it has mean 0, variance 1 and tails that are lighter than the normal ones (a sum of cosines of random phases is
sub-Gaussian). So the p-value needs no model of files, and the false-positive rate no calibration. Where many positions and
sizes are tried, the p-value of the best one is multiplied by their number (Bonferroni), which holds however they depend on
one another.
"""

import hashlib
import math

import numpy as np

FALSE_POSITIVE_RATE = 1e-6
"""At most so many files without the mark are said to carry it."""


def normal_numbers(key: bytes, purpose: str, count: int) -> np.ndarray:
    """``count`` standard normal numbers (float64) from SHAKE-256 and Box-Muller: the same in every version of numpy."""
    pairs = (count + 1) // 2
    stream = hashlib.shake_256(purpose.encode() + b"\0" + key).digest(16 * pairs)
    uniform = (np.frombuffer(stream, "<u8").astype(np.float64) + 0.5) / 2.0**64
    radius, angle = np.sqrt(-2 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def p_value(z: float, tests: int) -> float:
    """How likely a file without the mark reaches ``z`` in the best of ``tests`` tests, at most."""
    return min(1.0, tests * math.erfc(z / math.sqrt(2)) / 2)
