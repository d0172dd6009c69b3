"""Records of a long file stacked into arrays while they are read."""

from collections.abc import Iterable
from itertools import islice

import numpy as np
from tqdm import tqdm

CHUNK = 1024


def stacked(
    parsed: Iterable[tuple[np.ndarray, ...]], limit: int | None, title: str
) -> tuple[np.ndarray, ...]:
    """Return the first `limit` records (None: all), each part stacked along a new first axis.

    Records are joined in chunks as they come, and the chunks are freed as they go into the result:
    at no time is there more than two copies of the data. Progress, under `title`, is shown where
    it takes more than seconds. No record at all gives no array at all, an empty tuple.
    """
    records = iter(tqdm(islice(parsed, limit), title, total=limit, delay=3, unit="record"))
    chunks = []
    while chunk := list(islice(records, CHUNK)):
        chunks.append(tuple(np.stack(part) for part in zip(*chunk, strict=True)))
    if not chunks:
        return ()
    count = sum(len(chunk[0]) for chunk in chunks)
    arrays = tuple(np.empty((count, *part.shape[1:]), part.dtype) for part in chunks[0])
    start = 0
    chunks.reverse()  # so that the first is popped first
    while chunks:
        chunk = chunks.pop()
        stop = start + len(chunk[0])
        for array, part in zip(arrays, chunk, strict=True):
            array[start:stop] = part
        start = stop
    return arrays
