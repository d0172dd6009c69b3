"""Every transformation module: identity, reference resampling, colour, edits, gradients."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from dtis_core.errors import DtisError
from dtis_core.model.canvas import Canvas
from dtis_core.model.sprites import Backgrounds
from dtis_core.model.transformations import TRANSFORMATIONS, Sequence, apply_maps

PLACING = ("position", "placement", "wide_placement", "translation")
SPATIAL = [name for name, module in TRANSFORMATIONS.items() if module.spatial]
COLOURS = [name for name in TRANSFORMATIONS if name not in SPATIAL]
B, L, K, C = 2, 3, 4, 3
SPRITE, IMAGE = (8, 11), (13, 17)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def canvas(*lead, size=SPRITE, seed=0, **options):
    """Random pixels over a support of ones; by default the K sprites, shared by all layers."""
    pixels = random(*(lead or (1, 1, K)), C + 1, *size, seed=seed)
    return Canvas(pixels, torch.ones_like(pixels[:, :, :, :1]), **options)


def module(name):
    return TRANSFORMATIONS[name](C)


def parameters(name, k=1, scale=0.4, seed=1):
    """Random parameters (B, L, k, P) in [-scale, scale]."""
    return scale * (2 * random(B, L, k, module(name).size, seed=seed) - 1)


def pixels_of(result):
    return torch.cat([result.colour, result.mask], dim=3)


def close(found, expected, atol=1e-12):
    found, expected = torch.broadcast_tensors(found, expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def read_at(pixels, x, y):
    """Bilinear reference: read (h, w) images of any number at points (H, W) in [-1, 1]."""
    grid = torch.stack([x, y], dim=-1)[None]
    shape = pixels.shape[:-2]
    found = F.grid_sample(pixels.reshape(1, -1, *pixels.shape[-2:]), grid, align_corners=False)
    return found.reshape(*shape, *x.shape)


def image_points(size):
    """x and y of the pixel centres of an image, each (H, W)."""
    y, x = (torch.arange(n, dtype=torch.float64) * 2 / n + 1 / n - 1 for n in size)
    return torch.meshgrid(x, y, indexing="xy")


# Identity


@pytest.mark.parametrize("name", [name for name in TRANSFORMATIONS if name != "position"])
def test_zero_parameters_change_nothing(name):
    before = canvas(B, L, K)
    after = module(name)(before, torch.zeros_like(parameters(name)), SPRITE)
    close(pixels_of(after), before.pixels)
    close(after.support, before.support)


def test_position_starts_at_half_of_the_image():
    before = canvas()
    after = module("position")(before, torch.zeros(B, L, 1, 3, dtype=torch.float64), IMAGE)
    x, y = image_points(IMAGE)
    close(after.pixels, read_at(before.pixels, 2 * x, 2 * y))
    rows = after.support[0, 0, 0, 0, :, IMAGE[1] // 2]
    assert rows.sum() == pytest.approx(IMAGE[0] / 2, abs=0.5)


@pytest.mark.parametrize("name", ["placement", "wide_placement", "translation"])
def test_ours_start_as_exact_copies_of_the_sprite(name):
    before, size = canvas(), (SPRITE[0] + 4, SPRITE[1] + 6)
    after = module(name)(before, torch.zeros_like(parameters(name)), size)
    close(after.pixels, F.pad(before.pixels, (3, 3, 2, 2)))


# Resampling


def reads(name, p, size):
    """Where each output pixel reads, after the definitions of the placing modules."""
    x, y = image_points(size)
    if name == "position":
        zoom_x = zoom_y = p[0].exp() + 1
    else:
        octaves = {"placement": 1, "wide_placement": 2, "translation": 0}[name]
        shown = 2 ** (octaves * (p[0] / max(1, octaves)).tanh())
        zoom_x, zoom_y = size[1] / SPRITE[1] / shown, size[0] / SPRITE[0] / shown
    return zoom_x * (x - p[-2].tanh()), zoom_y * (y - p[-1].tanh())


@pytest.mark.parametrize("lead", [(1, 1, K), (B, L, K), (1, 1, 1)])
@pytest.mark.parametrize("specific", [False, True])
@pytest.mark.parametrize("name", PLACING)
def test_separable_products_are_bilinear_sampling(name, specific, lead):
    if specific and lead[2] != K:
        lead = (1, 1, K)
    before, p = canvas(*lead), parameters(name, K if specific else 1, scale=1.5)
    after = module(name)(before, p, IMAGE)
    pixels = before.pixels.expand(B, L, lead[2], -1, -1, -1)
    for b, i, k in itertools.product(range(B), range(L), range(lead[2])):
        points = reads(name, p[b, i, k if specific else 0], IMAGE)
        close(after.pixels[b, i, k], read_at(pixels[b, i, k], *points))
        ones = torch.ones(1, *SPRITE, dtype=torch.float64)
        close(after.support[b, i, min(k, after.support.shape[2] - 1)], read_at(ones, *points))


@pytest.mark.parametrize("name", [name for name in SPATIAL if name != "morphological"])
def test_a_background_repeats_its_border(name):
    size = (8, 8)
    flat = torch.full((1, 1, 2, C + 1, *size), 0.3, dtype=torch.float64)
    before = Canvas(flat, torch.ones_like(flat[:, :, :, :1]), padding="border")
    after = module(name)(before, parameters(name, scale=1.5), size)
    close(after.pixels, torch.full_like(after.pixels, 0.3))


def test_affine_maps_agree_wherever_modules_overlap():
    a = parameters("affine")
    before = canvas()
    expected = module("affine")(before, a, IMAGE).pixels
    projective = F.pad(a, (0, 2))
    close(module("projective")(before, projective, IMAGE).pixels, expected)
    side = torch.linspace(-1, 1, 4, dtype=torch.float64)
    y, x = torch.meshgrid(side, side, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(16, 3)
    displacements = torch.einsum("blkij,nj->blkni", a.view(B, L, 1, 2, 3), points)
    spline = displacements.reshape(B, L, 1, 32)
    close(module("tps")(before, spline, IMAGE).pixels, expected, atol=1e-9)


def test_a_similarity_is_a_rotation_a_scale_and_a_shift():
    p = parameters("similarity", scale=1.0)
    angle, log_scale, x, y = p.unbind(dim=-1)
    cos, sin = (torch.exp(-log_scale) * f(angle) for f in (torch.cos, torch.sin))
    affine = torch.stack([cos - 1, sin, -x, -sin, cos - 1, -y], dim=-1)
    before = canvas()
    close(
        module("similarity")(before, p, IMAGE).pixels,
        module("affine")(before, affine, IMAGE).pixels,
    )


def test_a_similarity_turns_moves_and_enlarges_as_named():
    dot = torch.zeros(1, 1, 1, C + 1, 9, 9, dtype=torch.float64)
    dot[..., 4, 6] = 1.0  # two pixels right of the centre

    def centre(*p):
        p = torch.tensor(p, dtype=torch.float64).expand(1, 1, 1, 4)
        mask = module("similarity")(Canvas(dot, torch.ones_like(dot[:, :, :, :1])), p, (9, 9)).mask
        weights = mask[0, 0, 0, 0] / mask.sum()
        index = torch.arange(9, dtype=torch.float64) - 4
        return float(weights.sum(0) @ index), float(weights.sum(1) @ index)

    assert centre(0, 0, 2 / 9, -4 / 9) == pytest.approx((3, -2))
    assert centre(math.pi / 2, 0, 0, 0) == pytest.approx((0, 2), abs=1e-9)
    assert centre(0, math.log(1.5), 0, 0) == pytest.approx((3, 0))


def test_the_spline_goes_through_its_control_points():
    side = torch.linspace(-1, 1, 4, dtype=torch.float64)
    y, x = torch.meshgrid(side, side, indexing="ij")
    control = torch.stack([x, y], dim=-1)  # (4, 4, 2)
    p = parameters("tps").view(B * L, 32)
    found = module("tps").points(p, control[None])
    close(found, control + p.view(B * L, 4, 4, 2), atol=1e-9)


def test_points_behind_the_horizon_stay_finite():
    p = torch.zeros(B, L, 1, 8, dtype=torch.float64)
    p[..., 6] = -3.0
    p.requires_grad_()
    after = module("projective")(canvas(), p, IMAGE)
    after.pixels.sum().backward()
    assert after.pixels.isfinite().all() and p.grad.isfinite().all()


# Colour


@pytest.mark.parametrize("name", [name for name in SPATIAL if name != "morphological"])
@pytest.mark.parametrize("colours", [["tint"], ["colour"], ["colour", "tint"], ["tint", "colour"]])
def test_pending_colours_equal_colours_applied_at_once(name, colours):
    before = canvas()
    pending = before
    for i, colour in enumerate(colours):
        pending = module(colour)(pending, parameters(colour, seed=i), SPRITE)
    p = parameters(name, K, seed=7)
    found = module(name)(pending, p, IMAGE)
    painted = pending.pixels.expand(B, L, K, -1, -1, -1).clone()
    painted[:, :, :, :C] = pending.colour
    expected = module(name)(Canvas(painted, torch.ones_like(painted[:, :, :, :1])), p, IMAGE)
    close(found.colour, expected.pixels[:, :, :, :C])
    close(found.mask, expected.mask)


def test_tint_and_colour_follow_their_definitions():
    before = canvas()
    p = parameters("colour")
    gains, offsets = p[..., :C, None, None], p[..., C:, None, None]
    close(module("colour")(before, p, SPRITE).colour, (1 + gains) * before.colour + offsets)
    close(module("tint")(before, p[..., :C], SPRITE).colour, (1 + gains) * before.colour)
    second = module("tint")(module("colour")(before, p, SPRITE), p[..., :C], SPRITE)
    close(second.colour, (1 + gains) * ((1 + gains) * before.colour + offsets))


# Morphology


@pytest.mark.parametrize("sharpness", [50.0, -50.0])
def test_morphology_dilates_or_erodes(sharpness):
    mask = (random(1, 1, 1, C + 1, 16, 16) > 0.7).double()
    p = torch.ones(1, 1, 1, 50, dtype=torch.float64)
    p[..., 0] = sharpness
    found = module("morphological")(Canvas(mask, torch.ones_like(mask[:, :, :, :1])), p, (16, 16))
    sign = math.copysign(1, sharpness)
    padded = F.pad(mask[0, 0], (3, 3, 3, 3))
    expected = sign * F.max_pool2d(sign * padded, 7, stride=1)
    close(pixels_of(found)[0, 0], expected, atol=1e-9)


# Sequences


def test_an_unknown_module_is_named_with_the_nearest():
    with pytest.raises(DtisError, match="unknown transformation 'affin', did you mean 'affine'?"):
        Sequence(["affin"], C, None)
    with pytest.raises(DtisError, match="'affine' occurs twice"):
        Sequence(["affine", "colour", "affine"], C, None)


def test_a_sequence_applies_its_modules_one_after_the_other():
    names = ["colour", "affine", "position"]
    sequence = Sequence(names, C, IMAGE)
    parts = [parameters(name, seed=i) for i, name in enumerate(names)]
    before = canvas()
    expected = before
    for name, p in zip(names, parts, strict=True):
        expected = module(name)(expected, p, IMAGE if name == "position" else SPRITE)
    found = sequence(before, torch.cat(parts, dim=-1), None)
    close(pixels_of(found), pixels_of(expected))
    assert sequence.size == 6 + 6 + 3


def test_neighbouring_maps_are_composed_and_the_sprite_sampled_once():
    first, second = parameters("affine", seed=3), parameters("affine", seed=4)

    def matrices(p):
        rows = torch.eye(3, dtype=p.dtype)[:2].flatten() + p
        return torch.cat([rows, p.new_tensor([0, 0, 1]).expand(*p.shape[:-1], 3)], -1).unflatten(
            -1, (3, 3)
        )

    product = matrices(first) @ matrices(second)  # a point goes through the last map first
    product = product.flatten(-2)[..., :6] - torch.eye(3, dtype=first.dtype)[:2].flatten()
    found = apply_maps(
        canvas(), [(module("affine"), first), (module("affine"), second)], first.shape[:3], IMAGE
    )
    close(pixels_of(found), pixels_of(module("affine")(canvas(), product, IMAGE)))


def test_the_curriculum_leaves_modules_out():
    names = ["tint", "affine", "similarity", "placement"]
    sequence = Sequence(names, C, IMAGE)
    parts = [parameters(name, seed=i) for i, name in enumerate(names)]
    before, together = canvas(), torch.cat(parts, dim=-1)
    found = sequence(before, together, frozenset({"tint", "similarity"}))
    expected = module("tint")(before, parts[0], SPRITE)
    expected = module("similarity")(expected, parts[2], SPRITE)
    expected = module("placement")(expected, torch.zeros_like(parts[3]), IMAGE)  # still resizes
    close(pixels_of(found), pixels_of(expected))
    every = sequence(before, together, frozenset(names))
    close(pixels_of(every), pixels_of(sequence(before, together, None)))


# Gradients


@pytest.mark.parametrize("scale", [0.0, 0.4, 3.0])
@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_gradients_are_finite(name, scale):
    before, p = canvas(B, L, K), parameters(name, scale=scale).requires_grad_()
    pixels = before.pixels.requires_grad_()
    after = module(name)(Canvas(pixels, before.support), p, SPRITE)
    pixels_of(after).square().sum().backward()
    assert p.grad.isfinite().all() and pixels.grad.isfinite().all()
    assert pixels.grad.abs().sum() > 0
    if scale:
        assert p.grad.abs().sum() > 0


@pytest.mark.parametrize("corner", [(-1, -1), (-1, 1), (1, -1), (1, 1)])
@pytest.mark.parametrize("name", PLACING)
@pytest.mark.parametrize("far, learns", [(4.0, True), (1e4, False)])
def test_a_sprites_centre_cannot_leave_the_image(name, far, learns, corner):
    sprite = torch.ones(1, 1, 1, C + 1, *SPRITE, requires_grad=True)
    p = torch.zeros(1, 1, 1, module(name).size)
    p[..., -2:] = far * torch.tensor(corner)
    p.requires_grad_()
    after = module(name)(Canvas(sprite, torch.ones_like(sprite[:, :, :, :1])), p, IMAGE)
    quarter = after.mask[0, 0, 0, 0]  # what is left of the sprite's frame lies in the corner
    quarter = quarter if corner[1] > 0 else quarter.flip(0)
    quarter = quarter if corner[0] > 0 else quarter.flip(1)
    assert quarter[-1, -1] > 0.9
    after.pixels.sum().backward()
    assert p.grad.isfinite().all() and sprite.grad.isfinite().all()
    assert (sprite.grad > 0).float().mean() > 0.2
    assert bool((p.grad[..., -2:] != 0).all()) == learns  # beyond, tanh is flat in single precision


# Edits


def shape_of(mask):
    """Centre (x, y) in image sizes and deviation (x, y) in pixels of one mask (H, W)."""
    weights = mask / mask.sum()
    centre, deviation = [], []
    for profile in (weights.sum(0), weights.sum(1)):
        index = torch.arange(len(profile), dtype=profile.dtype)
        middle = profile @ index
        centre.append(float(middle + 0.5) / len(profile))
        deviation.append(float((profile @ (index - middle).square()).sqrt()))
    return centre, deviation


def blob(name, p, size=(64, 96)):
    """The mask of a smooth sprite placed by parameters (P,) in a large image."""
    y, x = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in (24, 24))
    mask = torch.exp(-(y[:, None] ** 2 + x**2) / 18)
    pixels = mask.expand(1, 1, 1, C + 1, 24, 24)
    before = Canvas(pixels, torch.ones_like(pixels[:, :, :, :1]))
    return module(name)(before, p.expand(1, 1, 1, -1), size).mask[0, 0, 0, 0]


@pytest.mark.parametrize("name", PLACING)
def test_moved_shifts_by_image_sizes(name):
    p = torch.tensor([0.3, -0.2, 0.1][-module(name).size :], dtype=torch.float64)
    (x, y), _ = shape_of(blob(name, p))
    after = module(name).moved(p, (0.15, -0.1), 1.0)
    assert shape_of(blob(name, after))[0] == pytest.approx([x + 0.15, y - 0.1], abs=1e-3)


@pytest.mark.parametrize("factor", [0.8, 1.25])
@pytest.mark.parametrize("name", ["position", "placement", "wide_placement"])
def test_moved_scales_and_stays_in_place(name, factor):
    p = torch.tensor([0.2, -0.2, 0.1], dtype=torch.float64)
    centre, deviation = shape_of(blob(name, p))
    new_centre, new_deviation = shape_of(blob(name, module(name).moved(p, (0, 0), factor)))
    assert new_centre == pytest.approx(centre, abs=1e-3)
    assert new_deviation == pytest.approx([factor * d for d in deviation], rel=0.02)


def test_moved_keeps_within_bounds_and_says_what_cannot_be():
    p = torch.zeros(3)
    for name in ("position", "placement", "wide_placement"):
        far = module(name).moved(p, (9.0, -9.0), 50.0)
        assert far.isfinite().all()
        assert blob(name, far.double()).max() > 0
    with pytest.raises(DtisError, match="scale: .* can only be 1"):
        module("translation").moved(torch.zeros(2), (0.0, 0.0), 2.0)


@pytest.mark.parametrize("name", COLOURS)
def test_recoloured_sets_the_gains(name):
    p = module(name).recoloured(parameters(name), (1.0, 0.4, 0.7))
    before = canvas()
    gains = torch.tensor((1.0, 0.4, 0.7), dtype=torch.float64)[:, None, None]
    close(module(name)(before, p, SPRITE).colour, gains * before.colour)


def test_backgrounds_start_from_the_mean_image():
    backgrounds = Backgrounds(2, C, IMAGE)
    mean = random(C, *IMAGE).float()
    backgrounds.start_from(mean)
    assert torch.equal(backgrounds.canvases()[:, :C], mean.expand(2, -1, -1, -1))
