"""In which order images are learned from: each pass over them is a permutation of its own."""

from functools import lru_cache

import numpy as np
from jaxtyping import Int


def batch_numbers(
    seed: int, step: int, count: int, batch_size: int, steps_per_epoch: int
) -> Int[np.ndarray, " b"]:
    """Return which of `count` images a step learns from, from 0; it depends on nothing else.

    They are `batch_size`, or fewer in the last step of an epoch.
    """
    epoch, index = divmod(step, steps_per_epoch)
    return _permutation(seed, epoch, count)[index * batch_size : (index + 1) * batch_size]


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> Int[np.ndarray, " N"]:
    return np.random.default_rng([seed, epoch]).permutation(count)
