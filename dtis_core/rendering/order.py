"""What is to be rendered: how many scenes of which split, and the settings they depend on."""

import json
import re
from dataclasses import asdict, dataclass

from dtis_core.errors import DtisError

SPLITS = ("train", "validation", "final")  # independent random streams in this order
VERSION = 1  # count up whenever the images of a seed change
MOST_OBJECTS, SIZES = 10, (16, 1024)


@dataclass(frozen=True)
class Order:
    """What is to be rendered.

    Attributes:
        counts: scenes of each split; a shorter split is the beginning of a longer one.
        seed: selects the random streams.
        objects: at least and at most so many in a scene, their number uniform.
        size: height and width of the images in pixels.
    """

    counts: dict[str, int]
    seed: int = 0
    objects: tuple[int, int] = (3, 6)
    size: int = 128

    def __post_init__(self) -> None:
        """Raise DtisError for numbers out of range."""
        counts, (fewest, most) = self.counts.values(), self.objects
        rules = {
            f"--train, --validation, --final {[*counts]}: give 0 or more, and not 0 for all": (
                min(counts, default=0) >= 0 and sum(counts) > 0
            ),
            f"--seed {self.seed}: give 0 or more": self.seed >= 0,
            f"--objects {fewest}-{most}: give the least and the most, within 1-{MOST_OBJECTS}": (
                1 <= fewest <= most <= MOST_OBJECTS
            ),
            f"--size {self.size}: give {SIZES[0]} to {SIZES[1]} pixels": (
                SIZES[0] <= self.size <= SIZES[1]
            ),
        }
        for text, kept in rules.items():
            if not kept:
                raise DtisError(text)

    @property
    def made(self) -> dict:
        """What the images depend on, beside their split and number."""
        settings = {key: value for key, value in asdict(self).items() if key != "counts"}
        return {"by": "dtis render clevr", "version": VERSION} | json.loads(json.dumps(settings))

    @property
    def names(self) -> list[tuple[str, int]]:
        """The split and number of each scene."""
        return [(split, i) for split in SPLITS for i in range(self.counts.get(split, 0))]


def numbers_of(text: str) -> tuple[int, int]:
    """Return both numbers of a range such as 3-6. Raises DtisError for anything else."""
    parts = re.fullmatch(r"(\d{1,3})-(\d{1,3})", text)
    if not parts:
        raise DtisError(f"--objects {text:.80}: give the least and the most, as in 3-6")
    return int(parts[1]), int(parts[2])
