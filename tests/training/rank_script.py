"""What tests/training/test_ranks.py has torchrun do, by two ranks, in the folder that it names."""

import sys
from pathlib import Path

import torch
from small_run import random_images, small
from torch import nn

from dtis_core.config import load_preset
from dtis_core.errors import DtisError
from dtis_core.training.ranks import Ranks, ranks_on
from dtis_core.training.session import train
from dtis_core.training.shared_norm import share_norms
from dtis_core.training.trainer import Trainer

SPLIT = ["training.batch_size=7", "training.length=20"]  # four images for one rank, three for one
GROWING = [
    "data.count=16", "model.image_size=[24, 24]", "model.sprite_size=[12, 12]", "model.layers=2",
    "model.mask_sigma=3", "training.length=10", "training.batch_size=4", "training.frozen=1",
    "training.curriculum={rotation: 1}", "training.coarse_until=3", "training.dreams_from=2",
    "training.fovea_from=4", "training.cosine_from=6", "training.extra_sprites=2",
    "training.retire_from=5", "training.retire_until=8", "training.reassign_every=2",
]  # fmt: skip


def normalised(norm: nn.BatchNorm2d, features: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what a step of batch normalisation gives: output, statistics and gradients."""
    features.requires_grad_()
    output = norm.train()(features)
    (output * torch.linspace(-1, 1, 5)[:, None, None]).square().sum().backward()
    grad = {"weight": norm.weight.grad, "bias": norm.bias.grad}
    buffers = {k: v.clone() for k, v in norm.named_buffers()}
    return {"output": output.detach(), "grad": features.grad} | grad | buffers


def trained(ranks: Ranks, *settings: str) -> Trainer:
    """Return a trainer after a run of the network with a fovea."""
    config = load_preset("multi-dsprites").override([*GROWING, *settings])
    trainer = Trainer(config, random_images(16, 24), 0, ranks.device, ranks)
    while trainer.step < trainer.length:
        trainer.train_step()
    return trainer


def main(out: Path) -> None:
    """Leave in `out` a run, half a run, and what each rank found."""
    train(small(*SPLIT), out / "whole", quiet=True)
    train(small(*SPLIT), out / "half", max_steps=10, quiet=True)
    ranks = ranks_on("cpu")
    features = torch.randn(7, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    norm = nn.Sequential(nn.BatchNorm2d(5))
    share_norms(norm)
    found = normalised(norm[0], features[ranks.rank :: ranks.count].clone())
    found |= {f"model.{k}": v for k, v in trained(ranks).model.state_dict().items()}
    try:
        trained(ranks, "training.batch_size=1")
    except DtisError as error:
        (out / f"error{ranks.rank}").write_text(str(error))
    torch.save(found, out / f"rank{ranks.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
