"""The facade: a decomposed batch, to be read, and edited object by object (Fig. 4).

A scene is what was found, how each object differs from that, and an order of depths if one was set.
Every edit returns a new scene, which shares all objects but the changed one with the old; that one
is drawn at once, the others never again, nothing is encoded again, and the image is composed
whenever it is asked for. So undoing is going back to an old scene, and a slider's tick draws one
object.
"""

from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtis_core.errors import DtisError
from dtis_core.model.composition import compose, visibilities
from dtis_core.model.dti_sprites import Decomposition, DTISprites
from dtis_core.model.predictor import Prediction
from dtis_core.scenes.change import Change, apply_change, check_number, gains

MOST = 24  # objects in a scene, copies and removed ones among them

Order = tuple[int, ...]
"""All objects by number, farthest first."""


class Parts(NamedTuple):
    """What N objects of a batch hold and look like; fields as in `Decomposition` and its parts."""

    sprites: Int[Tensor, "B N"]
    layer: Float[Tensor, "B N P"]
    sprite: Float[Tensor, "B N K R"]
    features: Float[Tensor, "B N F"]
    alphas: Float[Tensor, "B N 1 H W"]
    colours: Float[Tensor, "B N C H W"]

    @torch.no_grad()
    def changed(self, model: DTISprites, change: Change) -> "Parts":
        """Return the parts under a change. Raises DtisError for one that the model cannot show."""
        layer, sprite = apply_change(model, change, self.layer, self.sprite)
        sprites = self.sprites
        if change.sprite is not None:
            sprites = torch.full_like(sprites, change.sprite)
        drawn = model.chosen_layers(sprites, layer, sprite)
        return Parts(sprites, layer, sprite, self.features, *drawn)


@dataclass(frozen=True)
class SceneObject:
    """A found layer, 1..L, in all images, and how it is changed; equal where those are.

    `parts` are of this one object, N = 1.
    """

    layer: int
    change: Change
    parts: Parts = field(repr=False, compare=False)


@dataclass(frozen=True)
class Scene:
    """A decomposed batch, edited or not. Sprites are numbered 1..K; 0 is background and empty.

    Its N objects, which are the layers of its tensors, are numbered from 1: the L that were found,
    then copies. `decomposition` is what was found, before all edits; `arranged` holds the order of
    depths that was set in each image, or None where it is as found. Scenes of equal objects and
    orders are equal, whatever their images.
    """

    model: DTISprites = field(repr=False, compare=False)
    decomposition: Decomposition = field(repr=False, compare=False)
    objects: tuple[SceneObject, ...]
    arranged: tuple[Order, ...] | None = None

    @classmethod
    def of(cls, model: DTISprites, decomposition: Decomposition) -> "Scene":
        """Return the scene as it was found."""
        scene = cls(model, decomposition, ())
        layers = range(1, scene._layers + 1)
        return replace(scene, objects=tuple(scene._found(layer) for layer in layers))

    # What is there

    @property
    def reconstruction(self) -> Float[Tensor, "B C H W"]:
        """The composed image, in [0, 1]."""
        alphas, colours = self._drawn("alphas"), self._drawn("colours")
        return compose(alphas, colours, self.model.below(self.occlusion)).clamp(0, 1)

    @property
    def layers(self) -> Float[Tensor, "B N C H W"]:
        """The appearance of each object layer."""
        return self._drawn("colours")[:, self._below :]

    @property
    def alphas(self) -> Float[Tensor, "B N 1 H W"]:
        """The transparency channel of each object layer, in [0, 1]."""
        return self._drawn("alphas")[:, self._below :]

    @property
    def background(self) -> Float[Tensor, "B C H W"]:
        """The background's appearance; black for a model without one."""
        colours = self.decomposition.colours
        return colours[:, 0] if self._below else torch.zeros_like(colours[:, 0])

    @property
    def occlusion(self) -> Float[Tensor, "B N N"]:
        """The occlusion matrix among object layers: 1 at [b, j, l] where layer j hides layer l."""
        occlusion = self.decomposition.occlusion
        if self.arranged is not None:
            rank = torch.tensor(self.arranged, device=occlusion.device).argsort(dim=1)  # (B, N)
            return (rank[:, :, None] > rank[:, None, :]).to(occlusion.dtype)
        for copy in self.objects[self._layers :]:
            occlusion = copied_in_front(occlusion, copy.layer - 1)
        return occlusion

    @property
    def orders(self) -> tuple[Order, ...]:
        """Each image's order of depths; by how many an object hides where that is no order."""
        return nearest_orders(self.occlusion) if self.arranged is None else self.arranged

    @property
    def sprite_index(self) -> Int[Tensor, "B N"]:
        """The sprite of each layer, 1..K, or 0 where the layer is empty."""
        return self._all("sprites")

    @property
    def parameters(self) -> Prediction:
        """The transformation parameters of all layers, sprites and backgrounds."""
        own = {name: self._all(name) for name in ("layer", "sprite", "features")}
        return replace(self.decomposition.prediction, **own)

    @property
    def instance_map(self) -> Int[Tensor, "B H W"]:
        """The layer seen most at each pixel, 1..N, or 0 where that is the background."""
        visible = visibilities(self._drawn("alphas"), self.model.below(self.occlusion))
        visible = visible[:, self._below :, 0]
        background = 1 - visible.sum(dim=1, keepdim=True)  # (B, 1, H, W)
        return torch.cat([background, visible], dim=1).argmax(dim=1)

    @property
    def semantic_map(self) -> Int[Tensor, "B H W"]:
        """The sprite seen most at each pixel, 1..K, or 0 for the background."""
        index = torch.nn.functional.pad(self.sprite_index, (1, 0))  # (B, N + 1), background first
        return index.gather(1, self.instance_map.flatten(1)).view(self.instance_map.shape)

    def colour(self, layer: int) -> Float[Tensor, "B C"]:
        """Return the gains of an object's colours, as `Change.colour` sets them."""
        parts = self._object(layer).parts
        return gains(self.model, parts.sprites[:, 0], parts.layer[:, 0], parts.sprite[:, 0])

    # Edits

    def edit(
        self,
        layer: int,
        *,
        depth: int | None = None,
        to_front: bool = False,
        to_back: bool = False,
        **change: object,
    ) -> "Scene":
        """Return the scene with one object, 1..N, changed further in every image.

        `change` are fields of `Change`. `depth` 0..N-1 counts the objects behind it, removed ones
        among them, of which `to_back` leaves none and `to_front` all; the others stay as they hide
        each other, or in the order nearest to that. Raises DtisError for an object or a field that
        there is not, a value out of range or a transformation that the model lacks.
        """
        old, last = self._object(layer), len(self.objects) - 1
        new = self.changed(layer, old.change.then(Change.of(self.model, change)))
        depth = last if to_front else 0 if to_back else depth
        if depth is None:
            return new
        check_number("depth", depth, 0, last, Integral)
        hides = self.occlusion.clone()
        hides[:, :, layer - 1] = 0  # the others, as if it were not there
        orders = [tuple(n for n in order if n != layer) for order in nearest_orders(hides)]
        return replace(new, arranged=tuple(_put(layer, order, depth) for order in orders))

    def changed(self, layer: int, change: Change) -> "Scene":
        """Return the scene with one object, 1..N, differing from what was found by this alone.

        A sprite that was found in all images is no change. Raises DtisError as `edit` does.
        """
        old = self._object(layer)
        new = self._found(old.layer)
        if change.sprite is not None and (new.parts.sprites == change.sprite).all():
            change = replace(change, sprite=None)
        if change == old.change:
            return self
        if change.used:
            new = replace(new, change=change, parts=new.parts.changed(self.model, change))
        objects = (*self.objects[: layer - 1], new, *self.objects[layer:])
        return replace(self, objects=objects)

    def duplicate(self, layer: int) -> "Scene":
        """Return the scene with a copy of one object as the last, just in front of the first.

        Raises DtisError for an object that there is not, or for one too many.
        """
        copy, new = self._object(layer), len(self.objects) + 1
        if new > MOST:
            raise DtisError(f"object: there are {MOST} already; change or undo one of them")
        longer = replace(self, objects=(*self.objects, copy))
        # As long as found occlusions tell where the copy is, they stay, which may be no order.
        if self.arranged is None and layer <= self._layers:
            return longer
        orders = (_put(new, order, order.index(layer) + 1) for order in self.orders)
        return replace(longer, arranged=tuple(orders))

    def arrange(self, order: object) -> "Scene":
        """Return the scene with its objects in an order of depths, a tuple or list of 1..N.

        The farthest comes first. Raises DtisError unless `order` names each object once.
        """
        N = len(self.objects)
        numbers = isinstance(order, tuple | list) and all(type(n) is int for n in order)
        if not numbers or sorted(order) != list(range(1, N + 1)):
            raise DtisError(f"order: must name each of the layers 1..{N} once, found {order!r:.80}")
        return replace(self, arranged=(tuple(order),) * len(self.decomposition.occlusion))

    # Saying it again

    @property
    def order(self) -> Order | None:
        """The order that was set in a scene of one image, or None. Raises DtisError for several."""
        images = len(self.decomposition.occlusion)
        if images != 1:
            raise DtisError(f"scene: expected one of one image, found {images}")
        return None if self.arranged is None else self.arranged[0]

    def python(self, image: int = 0) -> str:
        """Return the Python that makes this scene of a `run` and the image `images[image]`.

        Raises DtisError for a scene of several images.
        """
        calls = [f"duplicate(layer={copy.layer})" for copy in self.objects[self._layers :]]
        for number, edited in enumerate(self.objects, 1):
            values = [f"{name}={value!r}" for name, value in edited.change.used.items()]
            if values:
                calls.append(f"edit({', '.join([f'layer={number}', *values])})")
        if self.order is not None:
            calls.append(f"arrange(order={self.order})")
        lines = [f"scene = run.decompose(images[{image}:{image + 1}])"]
        lines += [f"scene = scene.{call}" for call in calls]
        return "\n".join([*lines, "picture = scene.reconstruction[0]", ""])

    # How it is held

    @property
    def _below(self) -> int:
        return min(self.model.config.backgrounds, 1)

    @property
    def _layers(self) -> int:
        return self.decomposition.occlusion.shape[1]

    def _object(self, layer: int) -> SceneObject:
        check_number("layer", layer, 1, len(self.objects), Integral)
        return self.objects[layer - 1]

    def _found(self, layer: int) -> SceneObject:
        """Return an object as it was found."""
        found, prediction, below = self.decomposition, self.decomposition.prediction, self._below
        whole = Parts(
            found.selection.sprites, prediction.layer, prediction.sprite, prediction.features,
            found.alphas[:, below:], found.colours[:, below:],
        )  # fmt: skip
        return SceneObject(layer, Change(), Parts(*(part[:, layer - 1 : layer] for part in whole)))

    def _all(self, part: str) -> Tensor:
        """Return one of the parts of all objects, (B, N, ...)."""
        return torch.cat([getattr(one.parts, part) for one in self.objects], dim=1)

    def _drawn(self, part: str) -> Tensor:
        """Return the alphas or colours of the background, where there is one, and all objects."""
        found = getattr(self.decomposition, part)
        if len(self.objects) == self._layers and not any(one.change.used for one in self.objects):
            return found  # without a copy, which may be large
        return torch.cat([found[:, : self._below], self._all(part)], dim=1)  # (B, M, ...)


def _put(layer: int, order: Order, at: int) -> Order:
    """Return an order with one more object in it."""
    return (*order[:at], layer, *order[at:])


def nearest_orders(occlusion: Float[Tensor, "B N N"]) -> tuple[Order, ...]:
    """Return each image's order of depths: first who hides fewest, of equals the first."""
    ranked = occlusion.sum(dim=2).argsort(dim=1, stable=True) + 1
    return tuple(map(tuple, ranked.tolist()))


def copied_in_front(occlusion: Float[Tensor, "B L L"], at: int) -> Float[Tensor, "B N N"]:
    """Return the occlusion matrix with a copy of one layer as the last, in front of the first."""
    longer = torch.nn.functional.pad(occlusion, (0, 1, 0, 1))  # (B, L + 1, L + 1)
    longer[:, -1] = longer[:, at]
    longer[:, :, -1] = longer[:, :, at]
    longer[:, -1, at] = 1
    return longer
