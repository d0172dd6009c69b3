"""The curve that rates follow."""

import math


def half_cosine(progress: float) -> float:
    """Return 1 up to progress 0, then half a cosine down to 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, progress))))
