"""One run on several devices: each rank learns from its share of every batch, and all stay equal.

torchrun starts a process for each rank. All of them draw the same weights, noise and order of
images from the seed; losses, gradients, counts and what batches are normalised by are those of the
whole batch, so that a run does not depend on the number of ranks but for rounding and for dreams,
of which each rank has its own.
"""

import atexit
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dtis_core.errors import DtisError
from dtis_core.runs.run_folder import RunFolder

MOMENTUM = 0.1  # of what batches are normalised by at inference: PyTorch's default


class Ranks:
    """This process's `rank` among `count`: one alone, unless torchrun started several."""

    def __init__(self, rank: int = 0, count: int = 1, device: str = "cpu"):
        self.rank, self.count, self.device = rank, count, device

    def folder(self, path: Path | str) -> RunFolder:
        """Return a run's folder, in which the first rank alone writes."""
        return WrittenElsewhere(path) if self.rank else RunFolder(path)

    def share(self, numbers: np.ndarray) -> np.ndarray:
        """Return every so manieth of a batch's images: this rank's."""
        return numbers[self.rank :: self.count]

    def weight(self, images: int) -> float:
        """Return what this rank's mean counts in such a batch: 1 where all shares are equal."""
        return len(range(self.rank, images, self.count)) * self.count / images

    def check(self, images: int, batch_size: int, unit: str) -> None:
        """Raise DtisError where a batch has fewer images than there are ranks."""
        sizes, left = [min(images, batch_size)], images % batch_size
        if unit == "epoch" and left > 1:  # one image alone is left out
            sizes.append(left)
        if min(sizes) < self.count:
            raise DtisError(
                f"training.batch_size: {batch_size} makes a batch of {min(sizes)} of {images} "
                f"images, too few for {self.count} ranks; take fewer ranks or another batch size"
            )

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over ranks, on all of them."""
        if self.count > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        return (
            flag if self.count == 1 else bool(self.total(torch.ones(1, device=self.device) * flag))
        )

    def wrapped(self, module: nn.Module) -> nn.Module:
        """Return a module that averages gradients over ranks, if there are several."""
        if self.count == 1:
            return module
        share_norms(module)
        return DistributedDataParallel(
            module, forward_sync_buffers=False, find_unused_parameters=True
        )


ALONE = Ranks()


def ranks_on(device: str) -> Ranks:
    """Join the ranks that torchrun started, if it did, each on its own device of a kind."""
    if not dist.is_torchelastic_launched():
        return Ranks(device=device)
    if device.startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():  # a process can join once
        # Of convolutions of one pixel, whose gradients may lie in memory in either order.
        warnings.filterwarnings("ignore", "Grad strides do not match")
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        atexit.register(dist.destroy_process_group)
    return Ranks(dist.get_rank(), dist.get_world_size(), device)


def first_rank() -> bool:
    """Whether this process is to speak for all."""
    return not dist.is_torchelastic_launched() or os.environ["RANK"] == "0"


class WrittenElsewhere(RunFolder):
    """A run's folder for ranks that only read it."""

    @contextmanager
    def writing(self) -> Iterator[RunFolder]:
        """Hold nothing: the first rank does."""
        yield self

    def _leave(self, *_: object, **__: object) -> None:
        """Leave it to the first rank."""

    begin = clear = start_again = write_manifest = update_manifest = note_resumption = _leave
    log = snapshot = save = forget_after = _leave


class Total(torch.autograd.Function):
    """The sum over ranks, through which each rank's gradient is that of all ranks' losses."""

    @staticmethod
    def forward(_: object, values: Tensor) -> Tensor:
        """Return the sum."""
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        """Return the sum of the gradients."""
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


class SharedNorm(nn.BatchNorm2d):
    """Batch normalisation over all ranks' images; `nn.SyncBatchNorm` has none for a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise features (B, F, y, x) by all ranks' means and variances."""
        if not self.training:
            return super().forward(input)
        size = input.new_tensor([input.numel() // input.shape[1]])
        sums = Total.apply(torch.cat([input.sum(dim=(0, 2, 3)), size]))
        mean, count = sums[:-1] / sums[-1], sums[-1]
        off = input - mean[:, None, None]
        variance = Total.apply(off.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            kept = self.running_mean, self.running_var, self.num_batches_tracked
            assert kept[0] is not None and kept[1] is not None and kept[2] is not None
            kept[0].lerp_(mean, MOMENTUM)
            kept[1].lerp_(variance * count / (count - 1), MOMENTUM)
            kept[2].add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return off * scale[:, None, None] + self.bias[:, None, None]


def share_norms(model: nn.Module) -> None:
    """Make a model's batch normalisations those of all ranks, with weights and names unchanged."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedNorm
