"""How a training step's time grows with the size of the problem, and the line that fits it best."""

from dataclasses import dataclass
from statistics import median

import numpy as np

from dtis_core.bench.step import timed
from dtis_core.config import Config
from dtis_core.errors import DtisError
from dtis_core.training.trainer import Trainer

WARM_UP = 1  # steps of each before timing
WHOLE = ["training.coarse_until=0", "training.quarter_until=0", "training.extra_sprites=0"]


@dataclass(frozen=True)
class Growth:
    """Median seconds of a step (n,) at n amounts (n,) of something, such as layers."""

    amounts: np.ndarray
    seconds: np.ndarray

    @property
    def line(self) -> tuple[float, float]:
        """The slope and the offset of the line of least squares."""
        slope, offset = np.polyfit(self.amounts, self.seconds, 1)
        return float(slope), float(offset)

    @property
    def explained(self) -> float:
        """The share of the variance that the line explains, R²: 1 for what is linear."""
        slope, offset = self.line
        left = self.seconds - (slope * self.amounts + offset)
        return float(
            1 - np.square(left).sum() / np.square(self.seconds - self.seconds.mean()).sum()
        )


def on_noise(config: Config) -> Trainer:
    """Return a trainer of a configuration on noise, whose content costs nothing."""
    size = (2 * config.training.batch_size, *config.model.image_size, config.model.channels)
    return Trainer(config, np.random.default_rng(0).integers(0, 256, size, np.uint8), seed=0)


def growth(config: Config, settings: dict[float, list[str]], steps: int = 3) -> Growth:
    """Time training steps of a configuration under settings, by the amount that they stand for.

    Such as `{2: ["model.layers=2"], 4: ["model.layers=4"]}`. Steps of all amounts alternate, so
    that what else the machine does meets all alike; they are of full size, with all modules on.

    Raises DtisError for fewer than two amounts, or a setting that cannot be.
    """
    if len(settings) < 2:
        raise DtisError(f"settings: a line needs two amounts or more, found {len(settings)}")
    trainers = {}
    for amount, changes in settings.items():
        trainers[amount] = trainer = on_noise(config.override([*WHOLE, *changes]))
        trainer.skip_to(trainer.length // 2)
    seconds = {amount: [] for amount in trainers}
    for turn in range(WARM_UP + steps):
        for amount, trainer in trainers.items():
            each = timed(trainer.train_step, trainer.device)
            if turn >= WARM_UP:
                seconds[amount].append(each)
    amounts = np.array(list(seconds), float)
    return Growth(amounts, np.array([median(each) for each in seconds.values()]))
