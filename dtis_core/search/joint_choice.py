"""Exhaustive search among residual looks: candidates and depths of two layers chosen together.

A look needs a scene to look at, so Algorithm 1 leads the looks; but it chooses layer by layer. Here
the minimum of Eq. (5) is sought over all pairs of what the last look for each layer proposes.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from dtis_core.search.residual import Inside, ResidualSearch
from dtis_core.search.windows import Windowed

Proposal = tuple[int, Windowed]
"""What a layer's last look proposes: the number of the look, and its candidates."""


@torch.no_grad()
def choose_jointly(search: ResidualSearch, first: Proposal, second: Proposal) -> None:
    """Put the best pair of candidates, in the better order, into the two layers of a scene.

    The background stays; and so does the scene that was chosen layer by layer, in images where no
    pair is better.
    """
    rules, below, proposals = search.rules, search.below, (first, second)
    ground = search.colours[:, 0] if below else torch.zeros_like(search.images)
    losses = pair_errors(search.images, ground, with_nothing(first[1].whole()), second[1])
    there = [torch.arange(count, device=losses.device) > 0 for count in losses.shape[2:]]
    losses = losses + rules.penalty * (there[0].long()[:, None] + there[1].long())
    if not rules.empty:
        losses = losses.masked_fill(~(there[0][:, None] & there[1]), torch.inf)
    order, *chosen = torch.unravel_index(losses.flatten(1).argmin(dim=1), losses.shape[1:])
    former, loss = search.present(), search.loss()
    search.empty([0, 1])
    for layer, ((look, candidates), k) in enumerate(zip(proposals, chosen, strict=True)):
        inside = Inside.of(search, candidates.window, layer)
        search.put(layer, inside, candidates, k, look)
    search.move(1, order)
    search.compose()
    search.take_back(former, search.loss() >= loss)


def with_nothing(
    candidates: tuple[Float[Tensor, "B N 1 H W"], Float[Tensor, "B N C H W"]],
) -> tuple[Float[Tensor, "B I 1 H W"], Float[Tensor, "B I C H W"]]:
    """Return I = N + 1 candidates, the first of which shows nothing."""
    alphas, colours = (torch.cat([torch.zeros_like(p[:, :1]), p], dim=1) for p in candidates)
    return alphas, colours


def pair_errors(
    images: Float[Tensor, "B C H W"],
    ground: Float[Tensor, "B C H W"],
    first: tuple[Float[Tensor, "B I 1 H W"], Float[Tensor, "B I C H W"]],
    second: Windowed,
) -> Float[Tensor, "B 2 I J"]:
    """Return the mean squared errors of a ground with each of I first and J second candidates.

    The second is behind the first, or else in front. Candidate 0 of J = N + 1 is nothing at all.
    With E = P - image, the scene P + a (V c - Q) of `rest_of_scene` has the error
    E^2 + 2 ac EV - 2 a EQ + (ac)^2 V^2 - 2 a^2c VQ + a^2 Q^2: sums of products of what either has.
    """
    alone = ground[:, None] + first[0] * (first[1] - ground[:, None])  # (B, I, C, H, W)
    errors = (alone - images[:, None]).square().flatten(2).sum(dim=2)  # (B, I)
    window, both = second.window, (alone, first[0])
    cut = [window.cut(part.flatten(1, 2)).unflatten(1, part.shape[1:3]) for part in both]
    P, seen = cut[0], 1 - cut[1]  # (B, I, C or 1, h, w)
    E = P - window.cut(images)[:, None]
    a, ac = second.alphas, second.alphas * second.colours
    right = [ac, a, ac.square().sum(dim=2, keepdim=True), a * ac, a.square()]
    right = torch.cat([part.flatten(2) for part in right], dim=2)  # (B, J, (2C + 3) h w)
    changes = []
    for Q, V in ((seen * window.cut(ground)[:, None], seen), (P, torch.ones_like(seen))):
        EQ, QQ = (part.sum(dim=2, keepdim=True) for part in (E * Q, Q * Q))
        left = [2 * E * V, -2 * EQ, V * V, -2 * V * Q, QQ]
        changes.append(torch.cat([part.flatten(2) for part in left], dim=2) @ right.mT)
    changes = torch.nn.functional.pad(torch.stack(changes, dim=1), (1, 0))  # (B, 2, I, 1 + N)
    return (errors[:, None, :, None] + changes) / images[0].numel()
