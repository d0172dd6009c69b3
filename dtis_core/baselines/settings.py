"""What a baseline's run depends on, but its seed: on whose images, and how it learns."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeVar

from dtis_core.config import DataConfig, load_preset
from dtis_core.config.building import build, plain
from dtis_core.config.ranges import Count, Positive, Within
from dtis_core.datasets import SceneDataset, load
from dtis_core.errors import DtisError, suggest

SLOTS = {"tetrominoes": 4, "multi-dsprites": 6}
"""Slots for images of a data set: as published, one more than the objects that there can be."""


@dataclass(frozen=True)
class Images:
    """The images of one of our presets: the same stream, splits, number and size."""

    preset: str  # of ours
    data: DataConfig
    size: tuple[int, int]

    def load(self, split: str, count: int | None) -> SceneDataset:
        """Return the first images of a split. Raises DtisError as `datasets.load` does."""
        return load(self.data.name, split, count, root=self.data.path, size=self.size)


def images_of(preset: str) -> Images:
    """Return the images of a preset. Raises DtisError for an unknown one."""
    config = load_preset(preset)
    return Images(config.preset, config.data, config.model.image_size)


@dataclass(frozen=True)
class MethodSettings:
    """What every method's run depends on."""

    METHOD: ClassVar[str]
    images: Images

    @property
    def preset(self) -> str:
        """Method and images, as records name them."""
        return f"{self.METHOD}/{self.images.preset}"

    def to_dict(self) -> dict:
        """Return plain values, as `BaselineFolder.settings` takes them."""
        return plain(self)


@dataclass(frozen=True)
class SlotSettings(MethodSettings):
    """How Slot Attention learns; rates follow the published schedule, shortened to `length`."""

    METHOD = "slot-attention"
    slots: Count
    length: Count  # steps
    channels: Count = 32  # of encoder and decoder; 64 were published for CLEVR6
    batch_size: Count = 16
    rate: Positive = 4e-4  # Adam's, at its highest
    warm_up: Annotated[float, Within(0, 1)] = 0.02  # of the length, in which rates rise
    half_life: Positive = 0.2  # of the length, in which rates fall by half
    bfloat16: bool = True  # convolutions so: more steps a minute where a CPU has it, else far fewer


@dataclass(frozen=True)
class KMeansSettings(MethodSettings):
    """How K-means clusters the pixels of images."""

    METHOD = "k-means"
    clusters: Count
    starts: Count = 10  # of which the one of least error counts


Chosen = TypeVar("Chosen", bound=MethodSettings)


def slot_settings(preset: str, length: int, **settings: float) -> SlotSettings:
    """Return the settings for images of a preset. Raises DtisError where there are none."""
    images = images_of(preset)
    if images.data.name not in SLOTS:
        raise DtisError(
            f"'{preset}': slot-attention has no published decoder for these images here"
            f"{suggest(images.data.name, SLOTS)}"
        )
    values = {"images": plain(images), "slots": SLOTS[images.data.name], "length": length}
    return build(SlotSettings, values | settings, "slot-attention")


def k_means_settings(preset: str) -> KMeansSettings:
    """Return the settings for images of a preset, as many clusters as it has sprites."""
    return KMeansSettings(images_of(preset), load_preset(preset).model.sprites)
