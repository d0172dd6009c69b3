"""What the parts of a training step take of it, each without those that it calls."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from unittest.mock import patch

import torch

from dtis_core.model import dti_sprites
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.model.predictor import Predictor
from dtis_core.search import seeking
from dtis_core.search.residual import ResidualSearch
from dtis_core.search.seeking import SeekingSprites
from dtis_core.search.seeking_predictor import SeekingPredictor
from dtis_core.training.dreams import Dreams
from dtis_core.training.trainer import Trainer

REST = "rest"  # of the step
PARTS: dict[str, list[tuple[object, str]]] = {
    "data": [(Trainer, "batch")],
    "encoder": [(Predictor, "encode")],
    "heads": [(Predictor, "forward"), (SeekingPredictor, "forward")],
    "candidates": [(DTISprites, "render_candidates"), (SeekingSprites, "seen_candidates")],
    "selection": [
        (dti_sprites, "greedy_selection"),
        (dti_sprites, "exhaustive_selection"),
        (ResidualSearch, "run"),
        (seeking, "choose_jointly"),
    ],
    "rendering": [(DTISprites, "render")],
    "dreams": [(Dreams, "lesson")],
    "backward": [(torch.Tensor, "backward")],
    "optimizer": [(torch.optim.Adam, "step")],
}
"""By name, where the functions are that do it."""


class Clock:
    """Counts seconds for whatever was entered last and not yet left."""

    def __init__(self, device: torch.device):
        self.device, self.seconds, self.open = device, defaultdict(float), [REST]
        self.since = time.perf_counter()

    def turn(self) -> None:
        """Count the time since the last turn for what is open."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[self.open[-1]] += now - self.since
        self.since = now

    def timed(self, part: str, function: Callable) -> Callable:
        """Return the function, whose calls count for a part."""

        @wraps(function)
        def call(*arguments, **options):
            self.turn()
            self.open.append(part)
            try:
                return function(*arguments, **options)
            finally:
                self.turn()
                self.open.pop()

        return call


@contextmanager
def watching(device: torch.device) -> Iterator[Clock]:
    """Yield a clock that counts for the parts of all steps done meanwhile."""
    clock = Clock(device)
    with ExitStack() as stack:
        for part, functions in PARTS.items():
            for owner, name in functions:
                function = clock.timed(part, getattr(owner, name))
                stack.enter_context(patch.object(owner, name, function))
        clock.since = time.perf_counter()
        yield clock
        clock.turn()


def shares(trainer: Trainer, steps: int) -> dict[str, float]:
    """Return each part's share of some training steps; the shares sum to 1."""
    with watching(trainer.device) as clock:
        for _ in range(steps):
            trainer.train_step()
    whole = sum(clock.seconds.values())
    return {part: clock.seconds.get(part, 0.0) / whole for part in (*PARTS, REST)}
