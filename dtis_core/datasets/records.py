"""Scenes by the ten thousand: generated in blocks, or stacked while a long file is read."""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dtis_core.datasets.tfrecord import Feature, read_examples
from dtis_core.errors import DtisError

CHUNK = 1024
Arrays = tuple[np.ndarray, ...]


def generated(
    count: int, seed: int, stream: tuple[int, ...], make: Callable[[np.random.Generator], Arrays]
) -> Arrays:
    """Return `count` scenes of which `make` gives 1,024 at a time, from a generator of their own.

    Streams of other numbers are independent, and a shorter data set is the beginning of a longer
    one.
    """
    arrays: Arrays = ()
    for start in range(0, count, CHUNK):
        key = (stream[0], start // CHUNK, *stream[1:])
        block = make(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key)))
        if not arrays:
            arrays = tuple(np.empty((count, *part.shape[1:]), part.dtype) for part in block)
        for array, part in zip(arrays, block, strict=True):
            array[start : start + CHUNK] = part[: count - start]
    return arrays


def official_split(
    path: Path,
    parse: Callable[[dict[str, Feature], str], Arrays],
    split: str,
    count: int | None,
    counts: dict[str, int],
) -> Arrays:
    """Read a split of an official TFRecord file, whose records `parse` turns into arrays.

    With `counts` {"train": n, "validation": m, "final": f}: of the first n + m + f records "final"
    is the last f, "validation" the m before them, and "train" what precedes those; a file of m + f
    records or fewer is every split at once. Raises DtisError for a file that is empty, damaged or
    holds something else.
    """
    train, final = counts["train"], counts["final"]
    held_out = counts["validation"] + final
    if split == "train":
        train = min(train, count or train)
    examples = enumerate(read_examples(path))
    parsed = (parse(example, f"{path}: record {index}") for index, example in examples)
    arrays = stacked(parsed, train + held_out, path.name)
    if not arrays:
        raise DtisError(f"{path}: found no record; download the file again")
    if len(arrays[0]) > held_out:
        parts = {
            "train": slice(-held_out),
            "validation": slice(-held_out, -final),
            "final": slice(-final, None),
        }
        # The short splits are copied, to free the others.
        arrays = tuple(a[parts[split]] for a in arrays)
        arrays = arrays if split == "train" else tuple(a.copy() for a in arrays)
    return tuple(a[:count] for a in arrays)


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
