"""Layered composition: Eq. (1), Eq. (2) and the occlusion matrix of Sec. 3.2.

Axis letters used in the whole package:
B images; L layers; M layers with the background as layer 0, L + 1, or L without one
K sprites; N candidates for a layer; G backgrounds (the paper's K')
P, R, S parameters of a layer, of a sprite in a layer, of a background; F features
C colour channels; D = C + 1 with the mask; H, W image and h, w sprite height and width

A layer is an appearance (C channels) under a transparency, or alpha, channel (1 channel, values in
[0, 1]). The occlusion matrix holds `occlusion[b, j, l] = 1` where layer j hides layer l.
"""

import itertools
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

Alphas = Float[Tensor, "B L 1 H W"]
Colours = Float[Tensor, "B L C H W"]
Occlusion = Float[Tensor, "B L L"]
Image = Float[Tensor, "B C H W"]
Rest = tuple[Image, Image, Float[Tensor, "B 1 H W"]]
"""A scene without one of its layers: (P, Q, V) of `rest_of_scene`."""


def compose_recursively(alphas: Alphas, colours: Colours) -> Image:
    """Compose layers from the farthest to the closest, Eq. (1).

    `c_l = alpha_l * colour_l + (1 - alpha_l) * c_{l-1}`, starting from black. Returns (B, C, H, W).
    """
    composite = torch.zeros_like(colours[:, 0])
    for layer in range(colours.shape[1]):
        alpha = alphas[:, layer]
        composite = alpha * colours[:, layer] + (1 - alpha) * composite
    return composite


def visibilities(alphas: Alphas, occlusion: Occlusion) -> Alphas:
    """Return what is seen of each layer, `alpha_l * prod_j (1 - occlusion_jl * alpha_j)`.

    Values in [0, 1], shape (B, L, 1, H, W): the weight of each layer's appearance in Eq. (2).
    """
    visible = alphas
    for j in range(alphas.shape[1]):
        hides = occlusion[:, j, :, None, None, None]  # (B, L, 1, 1, 1)
        visible = visible * (1 - hides * alphas[:, j : j + 1])
    return visible


def compose(alphas: Alphas, colours: Colours, occlusion: Occlusion) -> Image:
    """Compose layers under an occlusion matrix, the compact form of Eq. (2). Returns (B, C, H, W).

    Equals `compose_recursively` for `ordered_occlusion`; the matrix may also hold probabilities.
    """
    return (visibilities(alphas, occlusion) * colours).sum(dim=1)


def rest_of_scene(alphas: Alphas, colours: Colours, occlusion: Occlusion, layer: int) -> Rest:
    """Split Eq. (2) into what does and what does not depend on one layer.

    Whatever is put into `layer`, with transparency `alpha` and appearance `colour`, the composite
    is `P + alpha * (V * colour - Q)`. Returns (P, Q, V): P the composite of the other layers
    (B, C, H, W), Q the part of P that lies behind `layer` (B, C, H, W), and V how much of `layer`
    the others leave visible (B, 1, H, W).
    """
    alphas = alphas.clone()
    alphas[:, layer] = 0
    others = visibilities(alphas, occlusion) * colours  # (B, L, C, H, W)
    behind = occlusion[:, layer, :, None, None, None]  # (B, L, 1, 1, 1)
    in_front = occlusion[:, :, layer, None, None, None]  # (B, L, 1, 1, 1)
    seen = (1 - in_front * alphas).prod(dim=1)
    return others.sum(dim=1), (behind * others).sum(dim=1), seen


def squared_errors(images: Image, composites: Image) -> Float[Tensor, "B"]:
    """Return each image's squared error of Eq. (5), averaged over pixels and channels."""
    return (images - composites).square().flatten(1).mean(dim=1)


def ordered_occlusion(batch: int, layers: int, like: Tensor) -> Occlusion:
    """Return the matrix of Eq. (2) for layers in depth order: 1 where j > l. Shape (B, L, L)."""
    matrix = torch.ones(layers, layers, dtype=like.dtype, device=like.device).tril(-1)
    return matrix.expand(batch, layers, layers)


def occlusion_from_logits(logits: Float[Tensor, "B pairs"], layers: int) -> Occlusion:
    """Turn L(L-1)/2 predicted logits into an occlusion matrix (Sec. 3.2, occlusion modelling).

    A sigmoid fills the strictly lower triangle; the upper one follows from
    `occlusion_ij = 1 - occlusion_ji`; the diagonal is zero. Values in [0, 1], shape (B, L, L).
    """
    rows, columns = torch.tril_indices(layers, layers, -1, device=logits.device)
    matrix = logits.new_zeros(logits.shape[0], layers, layers)
    probability = torch.sigmoid(logits)
    matrix[:, rows, columns] = probability
    matrix[:, columns, rows] = 1 - probability
    return matrix


def put_background_below(occlusion: Occlusion) -> Float[Tensor, "B M M"]:
    """Add a background as layer 0, hidden by all other layers and hiding none: (B, L+1, L+1)."""
    batch, layers, _ = occlusion.shape
    matrix = occlusion.new_zeros(batch, layers + 1, layers + 1)
    matrix[:, 1:, 1:] = occlusion
    matrix[:, 1:, 0] = 1
    return matrix


def binary_occlusion(occlusion: Occlusion) -> Occlusion:
    """Threshold at 0.5, as the paper does at inference. Values 0 or 1, shape (B, L, L)."""
    return (occlusion > 0.5).to(occlusion.dtype)


@lru_cache(maxsize=8)
def _all_orders(layers: int) -> Tensor:
    """Return the occlusion matrices of all L! depth orders, (L!, L, L)."""
    ranks = torch.tensor(list(itertools.permutations(range(layers))))  # (L!, L)
    return (ranks[:, :, None] > ranks[:, None, :]).float()


def closest_order(occlusion: Occlusion) -> Occlusion:
    """Return the occlusion matrix of the true layer order nearest to `occlusion`.

    The paper's alternative to thresholding (Sec. 3.2). Thresholding may give cycles, an order never
    does. Searches all L! orders, so L is at most 7; raises ValueError beyond. Shape (B, L, L).
    """
    layers = occlusion.shape[-1]
    if layers > 7:
        raise ValueError(f"closest_order searches all orders of at most 7 layers, got {layers}")
    orders = _all_orders(layers).to(occlusion)
    distance = (occlusion[:, None] - orders).square().sum(dim=(2, 3))  # (B, L!)
    return orders[distance.argmin(dim=1)]
