"""Object-centric manipulation (Fig. 4): a change of one object, as changes of its parameters.

A `Change` speaks of what one sees; `apply_change` puts it into those transformation modules that
can express it, wherever they stand: among the layer's, or among those of each sprite. Nothing is
encoded again.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtis_core.errors import DtisError, suggest
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.model.transformations import (
    Affine,
    Colour,
    Position,
    Projective,
    Similarity,
    ThinPlateSpline,
)
from dtis_core.search.transformations import Rotation, Translation

FAR = 1e6  # no number is larger, nor a scale smaller than one part in it


@dataclass(frozen=True)
class Change:
    """How one object differs from what was found; the defaults change nothing.

    `sprite` 0..K replaces its sprite, 0 removes it; `colour` (C values) sets the gains of its
    sprite's colours; `shift` (x, y) in image widths and heights goes to the right and down; `scale`
    1e-6..1e6 multiplies the size, and `angle` turns it by degrees clockwise, about its sprite's
    centre; `bend` moves control points of its spline, each (point, x, y): 1..16 row by row, x and y
    as in `shift`. Numbers without a range are in -1e6..1e6.
    """

    sprite: int | None = None
    colour: tuple[float, ...] | None = None
    shift: tuple[float, ...] = (0.0, 0.0)
    scale: float = 1.0
    angle: float = 0.0
    bend: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, model: DTISprites, values: Mapping[str, object]) -> "Change":
        """Return the change with some fields set; lists and arrays may stand for tuples.

        Raises DtisError for a field that there is not, or a value that the model cannot show.
        """
        known = [field.name for field in fields(cls)]
        for name in sorted(values.keys() - set(known)):
            raise DtisError(f"{name:.80}: not a field of an object's change{suggest(name, known)}")
        values = {name: frozen(value) for name, value in values.items()}
        check_values(model, values)
        return cls(**values)

    @property
    def used(self) -> dict[str, object]:
        """What differs from the defaults, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}

    def then(self, other: "Change") -> "Change":
        """Return the change that is this one and then another."""
        points = dict.fromkeys(sorted(point for point, *_ in self.bend + other.bend), (0.0, 0.0))
        for point, x, y in self.bend + other.bend:
            points[point] = points[point][0] + x, points[point][1] + y
        return Change(
            self.sprite if other.sprite is None else other.sprite,
            self.colour if other.colour is None else other.colour,
            tuple(a + b for a, b in zip(self.shift, other.shift, strict=True)),
            self.scale * other.scale,
            self.angle + other.angle,
            tuple((point, *xy) for point, xy in points.items()),
        )


def frozen(value: object) -> object:
    """Return lists and arrays, at any depth, as tuples, and numbers of arrays as Python's."""
    if isinstance(value, np.ndarray | np.generic | Tensor):
        value = value.tolist()
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


def check_number(name: str, value: object, low: float, high: float, kind: type = Real) -> None:
    """Raise DtisError unless `value` is a number in low..high, whole ones for kind Integral."""
    if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
        allowed = f"in {low:g}..{high:g}" if low < high else f"{low:g}"
        raise DtisError(f"{name}: must be {allowed}, found {value!r:.80}")


def check_values(model: DTISprites, values: Mapping[str, object]) -> None:
    """Raise DtisError for the first value of a `Change`, by field, that the model cannot show."""
    unchanged = vars(Change())
    used = {name: value for name, value in values.items() if value != unchanged[name]}
    if "sprite" in used:
        check_number("sprite", used["sprite"], 0, model.config.sprites, Integral)
    if "colour" in used:
        C = model.config.channels
        _check_numbers("colour", used["colour"], C, f"{C} values")
    if "shift" in used:
        _check_numbers("shift", used["shift"], 2, "(x, y)")
    check_number("scale", used.get("scale", 1), 1 / FAR, FAR)
    check_number("angle", used.get("angle", 0), -FAR, FAR)
    bend = used.get("bend", ())
    if not isinstance(bend, tuple):
        raise DtisError(f"bend: expected a list of (point, x, y), found {bend!r:.80}")
    for handle in bend:
        _check_numbers("bend", handle, 3, "(point, x, y)")
        check_number("bend, point", handle[0], 1, ThinPlateSpline.per_side**2, Integral)
    for name in sorted(used.keys() - abilities(model) - {"sprite"}):
        names = ", ".join(model.sequences[0].names + model.sequences[1].names)
        raise DtisError(f"{name}: none of this model's transformations ({names}) can change it")


def _check_numbers(name: str, values: object, count: int, expected: str) -> None:
    """Raise DtisError unless `values` are a tuple of `count` numbers."""
    if not isinstance(values, tuple):
        raise DtisError(f"{name}: expected {expected}, found {values!r:.80}")
    if len(values) != count:
        raise DtisError(f"{name}: expected {expected}, found {len(values)} values")
    for value in values:
        check_number(name, value, -FAR, FAR)


def _kinds(module: object) -> tuple[str, ...]:
    """Return what a module can change of an object."""
    match module:
        case Colour():
            return ("colour",)
        case Translation():
            return ("shift",)
        case Position():
            return "shift", "scale"
        case Rotation():
            return ("angle",)
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
    layer: Float[Tensor, "*lead P"],
    sprite: Float[Tensor, "*lead K R"],
) -> tuple[Float[Tensor, "*lead P"], Float[Tensor, "*lead K R"]]:
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
        own[...] = _changed(_module(model, sequence, name), own, Change(**values))
    return tuple(parameters)


def _changed(module: object, own: Tensor, change: Change) -> Tensor:
    """Return a module's own parameters (..., P) under a change that it can express."""
    match module:
        case Colour():
            return module.recoloured(own, change.colour)
        case Position():
            return module.moved(own, change.shift, change.scale)
        case Projective():
            return rearranged(module, own, change)
    return bent(own, change.bend)


def rearranged(
    module: Projective, parameters: Float[Tensor, "*lead P"], change: Change
) -> Float[Tensor, "*lead P"]:
    """Return parameters whose map shows its object shifted, and scaled and turned in its place.

    A map reads at `M p` for the image's point p; the object's centre c is where it reads 0. What is
    to be seen at `c + t + s R(angle) (p - c)` was at p: so M is multiplied by the inverse of that.
    """
    M = module.matrix(parameters.flatten(0, -2))  # (N, 3, 3)
    centre = torch.linalg.inv(M)[:, :, 2]  # (N, 3)
    centre = centre[:, :2] / centre[:, 2:].clamp(min=0.1)  # as `Projective.points` does
    target = centre + 2 * centre.new_tensor(change.shift)  # images span 2
    angle = math.radians(change.angle)
    cos, sin = math.cos(angle) / change.scale, math.sin(angle) / change.scale
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
        parameters = torch.stack([angle, log_scale, -M[:, 0, 2], -M[:, 1, 2]], dim=1)
        return parameters[:, : module.size]  # of a `Rotation` the angle alone
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
    model: DTISprites,
    chosen: Int[Tensor, "B"],
    layer: Float[Tensor, "B P"],
    sprite: Float[Tensor, "B K R"],
) -> Float[Tensor, "B C"]:
    """Return the gains of an object's colours under its chosen sprite, in a model with any."""
    sequence, name = carriers(model)["colour"]
    own = (layer[:, None], sprite)[sequence][..., model.sequences[sequence].slices[name]]
    own = own[..., : model.config.channels].expand(-1, sprite.shape[1], -1) + 1  # (B, K, C)
    image = torch.arange(len(own), device=own.device)
    return own[
        image, (chosen - 1).clamp(min=0)
    ]  # of the empty one, those it would have as the first
