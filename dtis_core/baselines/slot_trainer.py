"""How Slot Attention learns: Adam on the error of reconstructions, by the published schedule.

A trainer's state is its weights, Adam's moments and its step. Which images and which noise a step
has follows from the seed and the step, so that a run which goes on repeats them.
"""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from dtis_core.baselines.records import BaselineFolder
from dtis_core.baselines.settings import SlotSettings
from dtis_core.baselines.slot_attention import SlotAutoencoder
from dtis_core.datasets import SceneDataset
from dtis_core.errors import DtisError
from dtis_core.pictures import to_pixels, to_tensor
from dtis_core.scoring.metrics import mean_ari, mean_ari_foreground
from dtis_core.storage.weights import check_tensors, load_weights, read_tensors
from dtis_core.training.order import batch_numbers

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # Adam's, of each parameter
CHUNK = 32  # images segmented at once, to bound memory
Pixels = UInt8[np.ndarray, "N H W 3"]


def centred(pixels: Pixels) -> Float[Tensor, "N 3 H W"]:
    """Return images in [-1, 1]."""
    return 2 * to_tensor(pixels) - 1


class SlotTrainer:
    """Trains one model on uint8 images held in memory."""

    def __init__(self, settings: SlotSettings, images: Pixels, seed: int):
        self.settings, self.images, self.seed, self.step = settings, images, seed, 0
        if len(images) < settings.batch_size:
            raise DtisError(
                f"images: found {len(images)}, fewer than the batch of {settings.batch_size}"
            )
        torch.manual_seed(seed)  # initial weights only
        model = SlotAutoencoder(settings.slots, settings.channels, settings.images.size)
        self.model = model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.device = torch.device("cpu")

    def rate(self) -> float:
        """Return the present step's rate: a straight rise, and all along a fall by halves."""
        settings, progress = self.settings, self.step / self.settings.length
        rise = (self.step + 1) / max(1, round(settings.warm_up * settings.length))
        return settings.rate * min(1.0, rise) * 0.5 ** (progress / settings.half_life)

    def batch(self) -> Float[Tensor, "B 3 H W"]:
        """Return the present step's images."""
        size, count = self.settings.batch_size, len(self.images)
        numbers = batch_numbers(self.seed, self.step, count, size, count // size)
        return centred(self.images[numbers])

    def train_step(self) -> float:
        """Do one step and return its loss. Raises DtisError where the loss is not finite."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        images = self.batch()
        noise = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.bfloat16):
            loss = self.model.loss(images, self.model.noise(len(images), noise))
        if not math.isfinite(loss.item()):
            raise DtisError(f"the loss is {loss.item()} at step {self.step}; try a lower --rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def state(self) -> dict[str, Tensor]:
        """Return all tensors that resuming needs; the step goes beside them."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            moments = self.optimizer.state[parameter]
            tensors |= {f"adam.{key}.{name}": moments[key] for key in MOMENTS if moments}
        return tensors

    def load_state(self, tensors: dict[str, Tensor], step: int, where: Path) -> None:
        """Continue from `state()` at `step`. Raises DtisError where the tensors do not fit."""
        own = dict(self.model.named_parameters())
        expected = {f"model.{name}": value for name, value in own.items()}
        for name, value in own.items():
            expected |= {f"adam.{key}.{name}": value for key in MOMENTS[1:]}
            expected[f"adam.step.{name}"] = torch.zeros(())
        check_tensors(tensors, expected, where)
        self.model.load_state_dict({name: tensors[f"model.{name}"] for name in own})
        for name, parameter in own.items():
            moments = {key: tensors[f"adam.{key}.{name}"] for key in MOMENTS}
            self.optimizer.state[parameter] = {
                key: value.clone(memory_format=torch.preserve_format)
                for key, value in moments.items()
            }
        self.step = step


def load_slots(folder: BaselineFolder) -> SlotAutoencoder:
    """Return a run's trained model. Raises DtisError for damaged files."""
    settings, file = folder.settings(SlotSettings), folder.path / "model.safetensors"
    model = SlotAutoencoder(settings.slots, settings.channels, settings.images.size)
    load_weights(model, read_tensors(file)[0], file)
    return model


def explain(model: SlotAutoencoder, images: Pixels) -> tuple[Pixels, Int64[np.ndarray, "N H W"]]:
    """Return reconstructions, and which slot claims each pixel most.

    All slots start from noise of one seed.
    """
    noise = model.noise(len(images), torch.Generator().manual_seed(0))  # (N, S, D)
    rebuilt, slots = [], []
    with torch.inference_mode():
        for start in range(0, len(images), CHUNK):
            chosen = slice(start, start + CHUNK)
            picture, masks = model(centred(images[chosen]), noise[chosen])
            rebuilt.append(to_pixels((picture + 1) / 2))  # (B, H, W, 3)
            slots.append(masks.argmax(dim=1).numpy())  # (B, H, W)
    return np.concatenate(rebuilt), np.concatenate(slots)


def slot_scores(model: SlotAutoencoder, data: SceneDataset) -> dict[str, float]:
    """Return ARI, over all pixels, and ARI-FG, over those of objects, of a model's slots.

    A slot is a label like any other: none stands for the background.
    """
    slots = explain(model, data.images)[1]
    return {
        "ARI": mean_ari(data.masks, slots),
        "ARI-FG": mean_ari_foreground(data.masks, slots),
    }
