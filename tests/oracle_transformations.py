"""Eq. (3) of the paper for `oracle.py`: each transformation from its definition, image by image.

Resampling gathers four neighbours a pixel; colours are applied where they stand in the sequence.
An image on its way through a sequence is (C + 2, h, w): colours, mask, and the sprite's frame of
ones, which says where mask noise and colour offsets apply.
"""

import itertools

import torch
from torch import Tensor

# A grid says where the output pixel at (x, y) reads; `rx` and `ry` are how many times larger the
# output is than the image read.


def positioned(p: Tensor, x: Tensor, y: Tensor, rx: float, ry: float):
    """3 parameters: log-scale and translation; the frame fills 1 / (exp(s) + 1) of the image."""
    zoom = p[0].exp() + 1
    return zoom * (x - p[1].tanh()), zoom * (y - p[2].tanh())


def placed(p: Tensor, x: Tensor, y: Tensor, rx: float, ry: float):
    """3 parameters as `positioned`, shown at 2^tanh(s) times the sprite's own size."""
    shown = 2 ** p[0].tanh()
    return (x - p[1].tanh()) * rx / shown, (y - p[2].tanh()) * ry / shown


def widely_placed(p: Tensor, x: Tensor, y: Tensor, rx: float, ry: float):
    """3 parameters as `placed`, shown at 4^tanh(s / 2) times the sprite's own size."""
    shown = 4 ** (p[0] / 2).tanh()
    return (x - p[1].tanh()) * rx / shown, (y - p[2].tanh()) * ry / shown


def translated(p: Tensor, x: Tensor, y: Tensor, rx: float, ry: float):
    """2 parameters: translation, at the sprite's own size."""
    return (x - p[0].tanh()) * rx, (y - p[1].tanh()) * ry


def similar(p: Tensor, x: Tensor, y: Tensor, rx: float, ry: float):
    """4 parameters: angle, log-scale and offset."""
    cos, sin = (-p[1]).exp() * p[0].cos(), (-p[1]).exp() * p[0].sin()
    return cos * x + sin * y - p[2], cos * y - sin * x - p[3]


def rotated(p: Tensor, x: Tensor, y: Tensor, rx: float, ry: float):
    """1 parameter: the angle."""
    return p[0].cos() * x + p[0].sin() * y, p[0].cos() * y - p[0].sin() * x


def affine(p: Tensor, x: Tensor, y: Tensor, rx: float, ry: float):
    """6 parameters, added to the identity."""
    return (1 + p[0]) * x + p[1] * y + p[2], p[3] * x + (1 + p[4]) * y + p[5]


def projected(p: Tensor, x: Tensor, y: Tensor, rx: float, ry: float):
    """8 parameters, added to the identity; points near the horizon stay in front of it."""
    u, v = affine(p[:6], x, y, rx, ry)
    depth = (p[6] * x + p[7] * y + 1).clamp(min=0.1)
    return u / depth, v / depth


def splined(p: Tensor, x: Tensor, y: Tensor, rx: float, ry: float):
    """32 parameters: displacements of 4 x 4 control points, between them a thin-plate spline."""
    side = (-1, -1 / 3, 1 / 3, 1)
    control = [(cx, cy) for cy in side for cx in side]
    n = len(control)

    def influences(x: Tensor, y: Tensor) -> list[Tensor]:
        distances = [((x - cx) ** 2 + (y - cy) ** 2).sqrt() for cx, cy in control]
        kernel = [d**2 * torch.log(d.clamp(min=1e-9)) for d in distances]
        return [*kernel, torch.ones_like(x), x, y]

    points = p.double().new_tensor(control)
    top = torch.stack(influences(points[:, 0], points[:, 1]), dim=1)  # (n, n + 3)
    system = torch.cat([top, torch.cat([top[:, n:].T, top.new_zeros(3, 3)], dim=1)])
    wanted = torch.cat([p.double().view(n, 2), top.new_zeros(3, 2)])
    weights = torch.linalg.solve(system, wanted)  # (n + 3, 2)
    parts = list(zip(influences(x.double(), y.double()), weights, strict=True))
    dx, dy = (sum(influence * weight[axis] for influence, weight in parts) for axis in (0, 1))
    return (x + dx).to(p.dtype), (y + dy).to(p.dtype)


GRIDS = {
    "position": (3, positioned),
    "placement": (3, placed),
    "wide_placement": (3, widely_placed),
    "translation": (2, translated),
    "similarity": (4, similar),
    "rotation": (1, rotated),
    "affine": (6, affine),
    "projective": (8, projected),
    "tps": (32, splined),
}
COLOURS = ("tint", "colour")
# Of points, free of the canvas size.
MAPS = ("similarity", "rotation", "affine", "projective", "tps")
PLACING = ("position", "placement", "wide_placement", "translation")


def centres(count: int, like: Tensor) -> Tensor:
    """Pixel centres of a side, the side being [-1, 1]."""
    return like.new_tensor([(i + 0.5) * 2 / count - 1 for i in range(count)])


def sampled(image: Tensor, x: Tensor, y: Tensor, border: bool) -> Tensor:
    """Read an image (D, h, w) at points (H, W) in [-1, 1]: bilinear, outside zero or the border."""
    h, w = image.shape[-2:]
    column, row = ((x + 1) * w - 1) / 2, ((y + 1) * h - 1) / 2
    if border:
        column, row = column.clamp(0, w - 1), row.clamp(0, h - 1)
    left, top = column.detach().floor(), row.detach().floor()
    result = 0
    for i, share_y in ((top, top + 1 - row), (top + 1, row - top)):
        for j, share_x in ((left, left + 1 - column), (left + 1, column - left)):
            inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
            neighbour = image[:, i.clamp(0, h - 1).long(), j.clamp(0, w - 1).long()]
            result = result + neighbour * (share_x * share_y * inside)
    return result


def dilated(image: Tensor, p: Tensor) -> Tensor:
    """1 + 49 parameters: a weighted mean of 7 x 7 neighbours that leans to the large or small."""
    content, frame = image[:-1], image[-1:]
    h, w = image.shape[-2:]
    padded = torch.nn.functional.pad(content, (3, 3, 3, 3))
    total = above = 0
    for index, (i, j) in enumerate(itertools.product(range(7), repeat=2)):
        share = (p[1 + index] + (index == 24)).clamp(0, 1)
        neighbour = padded[:, i : i + h, j : j + w]
        weight = share * torch.exp(p[0] * neighbour)
        total, above = total + weight, above + weight * neighbour
    return torch.cat([above / total.clamp(min=1e-6), frame])


def recoloured(image: Tensor, p: Tensor, offset: bool) -> Tensor:
    """C gains, added to 1, and with `offset` C offsets within the frame."""
    C = len(image) - 2
    colour, mask, frame = image[:C], image[C : C + 1], image[C + 1 :]
    colour = (1 + p[:C, None, None]) * colour
    if offset:
        colour = colour + p[C : 2 * C, None, None] * frame
    return torch.cat([colour, mask, frame])


def transformed(image, names, parameters, active, resize_to, border=False) -> Tensor:
    """Apply a sequence to one image (C + 2, h, w); the last spatial module may resize it."""
    C, start, reads = len(image) - 2, 0, []
    for position, name in enumerate(names):
        left_out = active is not None and name not in active
        p = parameters[start:]
        if name in COLOURS:
            start += C * (1 + COLOURS.index(name))
            image = image if left_out else recoloured(image, p, offset=name == "colour")
        elif name == "morphological":
            start += 50
            image = image if left_out else dilated(image, p)
        else:
            h, w = H, W = image.shape[-2:]
            if resize_to and all(later in COLOURS for later in names[position + 1 :]):
                H, W = resize_to
            count, grid = GRIDS[name]
            start += count
            if not left_out or (name in PLACING and (H, W) != (h, w)):
                reads.append((grid, p[:count] * 0 if left_out else p[:count]))
            following = names[position + 1 : position + 2]
            if name in MAPS and following and following[0] in MAPS:
                continue  # neighbouring maps of points are composed, the image is sampled once
            if reads or (H, W) != (h, w):
                x, y = torch.meshgrid(centres(W, p), centres(H, p), indexing="xy")
                for grid, own in reversed(reads):
                    x, y = grid(own, x, y, W / w, H / h)
                image = sampled(image, x, y, border)
            reads = []
    return image
