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
from dtis_core.training.shared_norm import share_norms


class Ranks:
    """This process's `rank` among `count`: one alone, unless torchrun started several."""

    def __init__(self, rank: int = 0, count: int = 1, device: str = "cpu"):
        self.rank, self.count, self.device = rank, count, device

    def folder(self, path: Path | str) -> RunFolder:
        """Return a run's folder, in which the first rank alone writes."""
        return WrittenElsewhere(path) if self.rank else RunFolder(path)

    def share(self, numbers: np.ndarray) -> np.ndarray:
        """Return this rank's images of a batch."""
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
        if self.count == 1:
            return flag
        return bool(self.total(torch.tensor(float(flag), device=self.device)))

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
