"""The training loop (Sec. 3.2, C.2): schedules, curriculum, frozen sprites, reassignment.

All of a trainer's state is its own: weights, Adam's moments, the step and the usage counts. Data
order and mask noise follow from the seed and the step, so a resumed run repeats them exactly.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dtis_core.config import Config
from dtis_core.errors import DtisError
from dtis_core.model.dti_sprites import Decomposition, DTISprites
from dtis_core.pictures import to_tensor
from dtis_core.search.seeking import SeekingSprites, build_model
from dtis_core.storage.weights import check_tensors, load_weights
from dtis_core.training.coarse_to_fine import fitted, halved, refined
from dtis_core.training.dreams import Dreams
from dtis_core.training.feasible import check_batch, check_steps
from dtis_core.training.objective import Objective
from dtis_core.training.optimizer import NETWORKS, build_optimizer
from dtis_core.training.order import batch_numbers
from dtis_core.training.ranks import ALONE, Ranks
from dtis_core.training.restarts import keep_only, reassign
from dtis_core.training.schedule import half_cosine

VISIBLE = 0.1  # transparency that a layer must reach somewhere
COUNTS = ("usage", "share", "counters", "invisible")  # a checkpoint's other tensors
SPRITES = "model.sprites.appearances"  # the tensor of a checkpoint that shows K


class Trainer:
    """Trains one model on uint8 images (N, H, W, C) held in memory, as one of some `ranks`."""

    def __init__(
        self,
        config: Config,
        images: np.ndarray,
        seed: int,
        device: str = "cpu",
        ranks: Ranks = ALONE,
    ):
        self.config, self.seed, self.device = config, seed, torch.device(device)
        self.ranks = ranks
        ranks.check(len(images), config.training.batch_size, config.training.unit)
        self.images = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        check_steps(config.training, self.in_steps)
        torch.manual_seed(seed)  # initial weights only
        self.sprites = config.model.sprites + config.training.extra_sprites  # K at present
        self.step = 0
        self.model = self._build_model()
        batch = min(len(images), config.training.batch_size)
        check_batch(self.model.predictor.encoder, batch, self.model.config.image_size)
        if config.model.backgrounds and config.model.background_colour is None:
            mean = images.mean(axis=0, dtype=np.float64) / 255
            mean = torch.from_numpy(mean).float().permute(2, 0, 1)  # (C, H, W)
            self.model.backgrounds.start_from(self._scaled(mean[None])[0])
        self.optimizer = build_optimizer(self.model, self.config.training)
        self.objective = self._objective()
        self.noise = torch.Generator(self.device)
        self.usage = torch.zeros(self.sprites, dtype=torch.float64)
        self.reassigned = 0  # restarts of sprites so far
        # At the last count: sprites without use, each one's share of the layers in use, and the
        # share of these layers that showed nothing.
        self.dead_sprites, self.invisible = 0, 0.0
        self.share = torch.zeros(self.sprites, dtype=torch.float64)
        self.hidden = 0  # layers in use that showed nothing, since the last count
        # Of the last batch: the share of its images in which each layer holds a sprite.
        self.layers_used = torch.zeros(config.model.layers)

    @property
    def halvings(self) -> int:
        """How many times images and sprites are halved at the present step."""
        training = self.config.training
        ends = training.coarse_until, training.quarter_until
        return sum(self.step < self.in_steps(end) for end in ends)

    def _scaled(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """Return images at the size of the present step."""
        return F.avg_pool2d(images, 2**self.halvings)

    def _build_model(self) -> DTISprites:
        """Return a new model for the present step's number of sprites and size of images."""
        model = replace(self.config.model, sprites=self.sprites)
        small = halved(model, self.halvings)
        return build_model(small, self.config.search, model.image_size).to(self.device)

    def _objective(self) -> nn.Module:
        """Return what the present model's parameters are to lower, on all ranks."""
        return self.ranks.wrapped(Objective(self.model, self._count))

    def _refine(self) -> None:
        """Go on at the present size: same networks; sprites, backgrounds and moments enlarged."""
        former = dict(self.model.named_parameters()), self.optimizer.state
        self.model = refined(self.model, self._build_model())
        self.optimizer = build_optimizer(self.model, self.config.training)
        for name, parameter in self.model.named_parameters():
            state = former[1].get(former[0][name], {})
            self.optimizer.state[parameter] = {
                key: fitted(value, parameter) if value.dim() else value
                for key, value in state.items()
            }
        self.objective = self._objective()

    def skip_to(self, step: int) -> None:
        """Go to a step without the learning before it; the model is of its size of images."""
        self.step = step
        if self.model.config.image_size != self._build_model().config.image_size:
            self._refine()

    def model_for_use(self) -> DTISprites:
        """Return the model at full size, whatever the present step's."""
        if not self.halvings:
            return self.model
        model = replace(self.config.model, sprites=self.sprites)
        return refined(self.model, build_model(model, self.config.search))

    @property
    def frozen(self) -> bool:
        """Whether sprites do not learn yet."""
        return self.step < self.in_steps(self.config.training.frozen)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the images: see `TrainingConfig`."""
        training = self.config.training
        whole, left = divmod(len(self.images), training.batch_size)
        smaller = left > 1 and training.unit == "epoch"  # one image is no batch to normalise over
        return max(1, whole + smaller)

    def in_steps(self, duration: float) -> int:
        """Convert a duration of the configuration to steps."""
        unit = self.steps_per_epoch if self.config.training.unit == "epoch" else 1
        return round(duration * unit)

    @property
    def length(self) -> int:
        """Steps of the whole run."""
        return self.in_steps(self.config.training.length)

    def rate(self, group: str) -> float:
        """Return the present rate of a group: network, encoder, appearance or mask."""
        training = self.config.training
        rate = getattr(training, f"{group}_rate") or training.network_rate
        late = training.appearance_late_rate
        if group == "appearance" and late and self.step >= self.in_steps(training.appearance_late):
            rate = late
        return rate * self.rate_factor(group)

    def rate_factor(self, group: str) -> float:
        """Return what the schedule multiplies a group's rate with at the present step."""
        training, step = self.config.training, self.step
        waiting = self.frozen and training.freeze == "images"
        if group not in NETWORKS and waiting:
            return 0.0
        factor = min(1.0, (step + 1) / max(1, self.in_steps(training.warm_up)))
        if group not in NETWORKS and not training.decay_sprites:
            return factor
        factor *= 0.1 ** sum(step >= self.in_steps(at) for at in training.decay_at)
        if training.cosine_from is not None:
            start = self.in_steps(training.cosine_from)
            factor *= half_cosine((step - start) / max(1, self.length - start))
        return factor

    def active_transformations(self) -> frozenset[str]:
        """Return the transformations that the curriculum has reached."""
        model, joins = self.config.model, self.config.training.curriculum
        names = (*model.layer_transformations, *model.sprite_transformations,
                 *model.background_transformations)  # fmt: skip
        return frozenset(n for n in names if self.step >= self.in_steps(joins.get(n, 0)))

    def mask_temperature(self) -> float:
        """Return Concrete masks' temperature at the present step, by equal factors over the run."""
        first, last = self.config.model.mask_temperature
        return first * (last / first) ** (self.step / self.length)

    def selection_steps(self) -> int:
        """Return T of the present step: as configured, or 1 up to that in turn."""
        model = self.config.model
        if self.config.search.alternate_steps:
            return 1 + self.step % model.selection_steps
        return model.selection_steps

    def batch(self) -> Float[Tensor, "B C H W"]:
        """Return this rank's images of the present step, in [0, 1]."""
        return self._scaled(self._images(self.ranks.share(self._numbers())))

    def _numbers(self) -> np.ndarray:
        """Return the numbers of the present step's images."""
        size = self.config.training.batch_size
        count, epoch = len(self.images), self.steps_per_epoch
        return batch_numbers(self.seed, self.step, count, size, epoch)

    def _images(self, chosen: np.ndarray) -> Float[Tensor, "B C H W"]:
        """Return images in [0, 1], given by their numbers."""
        images = self.images[torch.from_numpy(chosen).to(self.device)]
        return to_tensor(images)

    def blank_error(self) -> float:
        """Return the squared error of scenes without objects, on up to 1,000 images."""
        images = self.images[:1000].float() / 255
        blank = images.mean(dim=0) if self.config.model.backgrounds else 0.0
        return float((images - blank).square().mean())

    def train_step(self) -> float:
        """Do one step and return its loss. Raises DtisError where the loss is not finite."""
        model = self.model.train()
        model.active, model.temperature = self.active_transformations(), self.mask_temperature()
        training = self.config.training
        model.may_be_empty = self.step >= self.in_steps(training.empty_from)
        dreaming = None
        if isinstance(model, SeekingSprites) and model.search.fovea:
            model.predictor.fovea.in_use = self.step >= self.in_steps(training.fovea_from)
            if self.step >= self.in_steps(training.dreams_from):
                dreaming = Dreams(model, self.noise)
        self.noise.manual_seed(self.seed * 1_000_003 + self.step)
        noise = model.draw_noise(self.noise)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(group["name"])
        if self.ranks.rank:  # each rank has dreams of its own
            self.noise.manual_seed(self.noise.initial_seed() * self.ranks.count + self.ranks.rank)
        loss, lowered = self.objective(self.batch(), noise, self.selection_steps(), dreaming)
        weight = self.ranks.weight(len(self._numbers()))
        value = float(self.ranks.total(weight * loss)) / self.ranks.count
        if not math.isfinite(value):
            raise DtisError(
                f"the loss is {value} at step {self.step}; the last checkpoint is kept. "
                "Try lower rates, such as --set training.network_rate=3e-4"
            )
        self.optimizer.zero_grad(set_to_none=True)
        (weight * lowered).backward()
        if self.frozen and training.freeze == "sprites":
            self.model.sprites.zero_grad()  # none at all: Adam leaves them out
        self.optimizer.step()
        last = self.step + 1 == self.in_steps(training.retire_until)
        if last or (self.step + 1) % training.reassign_every == 0:
            self._reassign_and_retire()
        halvings = self.halvings
        self.step += 1
        if self.halvings < halvings:
            self._refine()
        return value

    def state(self) -> dict[str, Tensor]:
        """Return all tensors that resuming needs; the step goes beside them."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{key}.{name}"] = value
        counters = torch.tensor([self.reassigned, self.dead_sprites, self.hidden])
        invisible = torch.tensor(self.invisible, dtype=torch.float64)
        counts = {"usage": self.usage, "share": self.share}
        return tensors | counts | {"counters": counters, "invisible": invisible}

    def load_state(self, tensors: dict[str, Tensor], step: int, where: Path) -> None:
        """Continue from `state()` at `step`. Raises DtisError where the tensors do not fit."""
        absent = sorted({*COUNTS, SPRITES} - tensors.keys())
        if absent:
            raise DtisError(f"{where}: lacks tensor '{absent[0]}'; train again from the start")
        if not 0 <= step <= self.length:
            raise DtisError(
                f"{where}: is of step {step}, but the run has {self.length}; train again from the "
                "start"
            )
        self.skip_to(step)
        count = tensors[SPRITES].shape[:1].numel()
        if self.config.model.sprites <= count < self.sprites:
            self._keep_only(list(range(count)))
        split = len("model.")
        weights = {k[split:]: v for k, v in tensors.items() if k.startswith("model.")}
        load_weights(self.model, weights, where)
        rest = {k: v for k, v in tensors.items() if not k.startswith("model.")}
        moments, own = self._moments_in(rest), self.state()
        expected = [{name: own[name] for name in COUNTS}, *moments.values()]
        check_tensors(rest, {k: v for part in expected for k, v in part.items()}, where)
        for parameter, part in moments.items():
            self.optimizer.state[parameter] = {
                name.split(".")[1]: tensors[name].to(like) for name, like in part.items()
            }
        self.usage = tensors["usage"].double().clone()
        self.reassigned, self.dead_sprites, self.hidden = tensors["counters"].tolist()
        self.share, self.invisible = tensors["share"].double(), float(tensors["invisible"])

    def _moments_in(self, tensors: dict[str, Tensor]) -> dict[nn.Parameter, dict[str, Tensor]]:
        """Return what moments must be like, by name, of each parameter that has any there."""
        found = {}
        learning = {p for group in self.optimizer.param_groups for p in group["params"]}
        for name, parameter in self.model.named_parameters():
            moments = ("exp_avg", "exp_avg_sq")
            like: dict[str, Tensor] = {f"adam.{moment}.{name}": parameter for moment in moments}
            like[f"adam.step.{name}"] = parameter.new_zeros(())
            if parameter in learning and like.keys() & tensors.keys():
                found[parameter] = like
        return found

    def _count(self, scene: Decomposition) -> None:
        """Count uses of each sprite, and layers that hide what they use."""
        sprites = scene.selection.sprites
        brightest = scene.alphas[:, -sprites.shape[1] :].detach().amax(dim=(2, 3, 4))  # (B, L)
        hidden = ((sprites > 0) & (brightest < VISIBLE)).sum()
        uses = torch.bincount(sprites.flatten(), minlength=self.sprites + 1)[1:]
        used = (sprites > 0).sum(dim=0)  # (L,)
        others = torch.stack([hidden, hidden.new_tensor(len(sprites))])
        counts = self.ranks.total(torch.cat([uses, used, others])).cpu()
        uses, used, (hidden, images) = counts.split([len(uses), len(used), 2])
        self.usage += uses
        self.layers_used = used / images
        self.hidden += int(hidden)

    def _reassign_and_retire(self) -> None:
        """Restart sprites too little used (C.2), and give up extra ones that are due."""
        training = self.config.training
        used = max(1.0, float(self.usage.sum()))
        self.share, self.invisible = self.usage / used, self.hidden / used
        self.dead_sprites, self.hidden = int((self.usage == 0).sum()), 0
        until = training.reassign_until
        due = not self.frozen and (until is None or self.step < self.in_steps(until))
        if due and self.usage.any():  # else none is the most used one
            self.reassigned += reassign(
                self.model, self.optimizer, self.share, training.reassign_below / 100 / self.sprites
            )
        surplus = self.sprites - self.config.model.sprites - self.extra_sprites()
        if surplus > 0:  # two sprites of one kind share its images, so one of them goes first
            self._keep_only(sorted(self.share.argsort(descending=True)[:-surplus].tolist()))
        self.usage.zero_()

    def extra_sprites(self) -> int:
        """Return how many sprites more than K there should be after the present step."""
        training = self.config.training
        start, end = self.in_steps(training.retire_from), self.in_steps(training.retire_until)
        left = (end - self.step - 1) / max(1, end - start)
        return math.ceil(training.extra_sprites * min(1.0, max(0.0, left)))

    def _keep_only(self, kept: list[int]) -> None:
        keep_only(self.model, self.optimizer, kept)
        self.objective = self._objective()
        self.sprites = len(kept)
        self.usage, self.share = self.usage[kept], self.share[kept]
