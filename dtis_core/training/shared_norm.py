"""Batch normalisation over the images of all ranks."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

MOMENTUM = 0.1  # of what batches are normalised by at inference: PyTorch's default


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
