"""How many threads PyTorch has for small work: scenes, edits, trainings that somebody watches.

A slider's tick or a scene's search is thousands of small operations. To wake other threads for each
takes longer than it saves, and on a busy machine threads spin while they wait for one another: a
search in two threads beside another process took seven times as long as in one.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


def wished(environment: Mapping[str, str]) -> int:
    """Return the number of threads that OMP_NUM_THREADS asks for; 1 where it names none."""
    first = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return max(1, int(first)) if first.isdecimal() else 1


CHOSEN = wished(os.environ)  # once: OpenMP, too, reads it when it starts


@contextmanager
def chosen_threads() -> Iterator[None]:
    """Let torch use `CHOSEN` threads on a CPU, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(CHOSEN)
    try:
        yield
    finally:
        torch.set_num_threads(before)
