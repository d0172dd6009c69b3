"""Object-centric manipulation (Fig. 4): changes of one object, as changes of its parameters.

A `Change` speaks of what one sees; `apply_change` puts it into those transformation modules that
can express it, wherever they stand: among the layer's, or among those of each sprite. Nothing is
encoded again.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Real

import torch
from jaxtyping import Float
from torch import Tensor

from dtis_core.errors import DtisError
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.model.transformations import (
    Affine,
    Colour,
    Position,
    Projective,
    Similarity,
    ThinPlateSpline,
)
from dtis_core.search.transformations import Translation


@dataclass(frozen=True)
class Change:
    """How one object differs from what was found; the defaults change nothing.

    `sprite` 0..K replaces its sprite, 0 removes it; `colour` (C values) sets the gains of its
    sprite's colours; `shift` (x, y) in image widths and heights goes to the right and down; `scale`
    multiplies the size, and `angle` turns it by degrees clockwise, about its sprite's centre;
    `bend` moves control points of its spline, each (point, x, y): 1..16 row by row, x and y as in
    `shift`.
    """

    sprite: int | None = None
    colour: tuple[float, ...] | None = None
    shift: tuple[float, ...] = (0.0, 0.0)
    scale: float = 1.0
    angle: float = 0.0
    bend: tuple[tuple[float, ...], ...] = ()

    @property
    def used(self) -> dict[str, object]:
        """What differs from the defaults, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}


def check_values(model: DTISprites, values: Mapping[str, object]) -> None:
    """Raise DtisError for the first value of a `Change`, by field, that the model cannot show."""
    K, C = model.config.sprites, model.config.channels
    sprite, colour = values.get("sprite"), values.get("colour")
    if sprite is not None and not (type(sprite) is int and 0 <= sprite <= K):
        raise DtisError(f"sprite: must be in 0..{K}, found {sprite!r}")
    if colour is not None:
        _check_numbers("colour", colour, C, f"{C} values")
    _check_numbers("shift", values.get("shift", (0, 0)), 2, "(x, y)")
    scale = values.get("scale", 1)
    _check_numbers("scale", (scale,), 1, "a number")
    if not scale > 0:
        raise DtisError(f"scale: must be above 0, found {scale}")
    _check_numbers("angle", (values.get("angle", 0),), 1, "a number")
    last, bend = ThinPlateSpline.per_side**2, values.get("bend", ())
    if not isinstance(bend, tuple | list):
        raise DtisError(f"bend: expected a list of (point, x, y), found {bend!r}")
    for handle in bend:
        _check_numbers("bend", handle, 3, "(point, x, y)")
        if handle[0] not in range(1, last + 1):
            raise DtisError(f"bend: points are 1..{last}, found {handle[0]!r}")
    unchanged = vars(Change())
    changed = {name for name, value in values.items() if value != unchanged[name]}
    for name in sorted(changed - abilities(model) - {"sprite"}):
        names = ", ".join(model.sequences[0].names + model.sequences[1].names)
        raise DtisError(f"{name}: none of this model's transformations ({names}) can change it")


def _check_numbers(name: str, values: object, count: int, expected: str) -> None:
    """Raise DtisError unless `values` are `count` finite numbers."""
    if not isinstance(values, tuple | list):
        raise DtisError(f"{name}: expected {expected}, found {values!r}")
    if len(values) != count:
        raise DtisError(f"{name}: expected {expected}, found {len(values)} values")
    for value in values:
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            rule = "must be above 0" if name == "scale" else "must be finite numbers"
            raise DtisError(f"{name}: {rule}, found {value!r}")


def _kinds(module: object) -> tuple[str, ...]:
    """Return what a module can change of an object."""
    match module:
        case Colour():
            return ("colour",)
        case Translation():
            return ("shift",)
        case Position():
            return "shift", "scale"
        case Projective():
            return "shift", "scale", "angle"
        case ThinPlateSpline():
            return ("bend",)
    return ()


def carriers(model: DTISprites) -> dict[str, tuple[int, str]]:
    """Return which module expresses each kind of change: (0 layer's or 1 sprites' sequence, name).

    Where several can, modules of positions come first, then the layer's.
    """
    places = [(i, name) for i in (0, 1) for name in model.sequences[i].names]
    modules = {(i, name): _module(model, i, name) for i, name in places}
    places.sort(key=lambda place: isinstance(modules[place], Projective))
    return {kind: place for place in reversed(places) for kind in _kinds(modules[place])}


def abilities(model: DTISprites) -> frozenset[str]:
    """Return the fields of `Change`, other than the sprite, that a model can express."""
    return frozenset(carriers(model))


def _module(model: DTISprites, sequence: int, name: str) -> object:
    sequence = model.sequences[sequence]
    return sequence.modules[sequence.names.index(name)]


def apply_change(
    model: DTISprites,
    change: Change,
    layer: Float[Tensor, "B P"],
    sprite: Float[Tensor, "B K R"],
) -> tuple[Float[Tensor, "B P"], Float[Tensor, "B K R"]]:
    """Return one object's parameters under a change, of all sprites that it may take.

    Raises DtisError for values out of range, or that no transformation of the model can express.
    """
    check_values(model, vars(change))
    parameters = [layer.clone(), sprite.clone()]
    wanted: dict[tuple[int, str], dict] = {}
    for kind, place in carriers(model).items():
        if kind in change.used:
            wanted.setdefault(place, {})[kind] = change.used[kind]
    for (sequence, name), values in wanted.items():
        own = parameters[sequence][..., model.sequences[sequence].slices[name]]
        own[...] = _changed(_module(model, sequence, name), own, **values)
    return tuple(parameters)


def _changed(
    module: object,
    own: Tensor,
    colour: tuple[float, ...] = (),
    shift: tuple[float, ...] = (0.0, 0.0),
    scale: float = 1.0,
    angle: float = 0.0,
    bend: tuple[tuple[float, ...], ...] = (),
) -> Tensor:
    """Return a module's own parameters (..., P) under those values that it can express."""
    match module:
        case Colour():
            return module.recoloured(own, colour)
        case Position():
            return module.moved(own, shift, scale)
        case Projective():
            return rearranged(module, own, shift, scale, angle)
    return bent(own, bend)


def rearranged(
    module: Projective,
    parameters: Float[Tensor, "*lead P"],
    shift: tuple[float, ...],
    scale: float,
    angle: float,
) -> Float[Tensor, "*lead P"]:
    """Return parameters whose map shows its object shifted, and scaled and turned in its place.

    A map reads at `M p` for the image's point p; the object's centre c is where it reads 0. What is
    to be seen at `c + t + s R(angle) (p - c)` was at p: so M is multiplied by the inverse of that.
    """
    M = module.matrix(parameters.flatten(0, -2))  # (N, 3, 3)
    centre = torch.linalg.inv(M)[:, :, 2]  # (N, 3)
    centre = centre[:, :2] / centre[:, 2:].clamp(min=0.1)  # as `Projective.points` does
    target = centre + 2 * centre.new_tensor(shift)  # images span 2
    cos, sin = (f(math.radians(angle)) / scale for f in (math.cos, math.sin))
    turn = M.new_tensor([[cos, sin], [-sin, cos]])
    back = torch.eye(3).to(M).repeat(len(M), 1, 1)
    back[:, :2, :2] = turn
    back[:, :2, 2] = centre - target @ turn.T
    M = M @ back
    return _parameters_of(module, M / M[:, 2:, 2:].clamp(min=0.1)).view_as(parameters)


def _parameters_of(module: Projective, M: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N P"]:
    """Return the parameters of a matrix: the inverse of the module's `matrix`."""
    if isinstance(module, Similarity):
        angle = torch.atan2(M[:, 0, 1], M[:, 0, 0])
        log_scale = -M[:, 0, :2].norm(dim=1).log()
        return torch.stack([angle, log_scale, -M[:, 0, 2], -M[:, 1, 2]], dim=1)
    entries = (M - torch.eye(3).to(M)).flatten(1)  # (N, 9)
    return entries[:, : Affine.size if isinstance(module, Affine) else Projective.size]


def bent(
    parameters: Float[Tensor, "*lead P"], bend: tuple[tuple[float, ...], ...]
) -> Float[Tensor, "*lead P"]:
    """Return spline parameters that shift what is seen at some control points by (x, y)."""
    changed = parameters.clone().unflatten(-1, (-1, 2))  # (*lead, n, 2)
    for point, x, y in bend:
        # The map reads at the displaced point: what comes from the left is seen moved right.
        changed[..., int(point) - 1, :] -= 2 * parameters.new_tensor((x, y))
    return changed.flatten(-2)


def gains(
    model: DTISprites, layer: Float[Tensor, "B P"], sprite: Float[Tensor, "B K R"]
) -> Float[Tensor, "B K C"]:
    """Return the gains of an object's colours, for each sprite it may take, in a model with any."""
    sequence, name = carriers(model)["colour"]
    own = (layer[:, None], sprite)[sequence][..., model.sequences[sequence].slices[name]]
    own = own[..., : model.config.channels] + 1
    return own.expand(-1, sprite.shape[1], -1)
