"""An edited scene as a value: what was found, and how its objects differ from that.

`EditedScene` holds numbers only; it draws itself, and says the Python that does the same by
`Scene.edit`. Every edit returns a new one, so that undoing is forgetting the last. What an object
looks like is rendered once for each of its changes and kept: a slider's tick renders one object,
composes, and never encodes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dtis_core.errors import DtisError, suggest
from dtis_core.model.composition import compose
from dtis_core.pictures import to_pixels
from dtis_core.scenes.change import Change, apply_change, check_values, gains
from dtis_core.scenes.scene import Scene, copied_in_front, occlusion_of

MOST = 24  # objects in a scene, copies and removed ones among them
KEPT = MOST + 8  # objects as rendered, per image: all of a scene, and those of last ticks
STEPS = 200  # edits that can be undone

Picture = UInt8[np.ndarray, "height width channels"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: for images this small, waking others takes longer than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Renderer:
    """Draws the objects of one image's scene; keeps the last ones that it drew."""

    def __init__(self, scene: Scene):
        if len(scene.sprite_index) != 1:
            raise DtisError(f"scene: expected one of one image, found {len(scene.sprite_index)}")
        self.scene, self.model = scene, scene.model
        self.layers = scene.sprite_index.shape[1]
        self.found = tuple(scene.sprite_index[0].tolist())
        self.object = lru_cache(KEPT)(self._object)
        self.occlusion = lru_cache(KEPT)(self._occlusion)

    @torch.no_grad()
    def _object(self, layer: int, change: Change) -> tuple[Tensor, Tensor]:
        """Return alpha (1, 1, 1, H, W) and colours (1, 1, C, H, W) of a found layer, changed."""
        at = slice(layer - 1, layer)
        parameters = self.scene.parameters
        changed = apply_change(
            self.model, change, parameters.layer[:, layer - 1], parameters.sprite[:, layer - 1]
        )
        chosen = self.scene.sprite_index[:, at]
        if change.sprite is not None:
            chosen = torch.full_like(chosen, change.sprite)
        return self.model.chosen_layers(chosen, *(part[:, None] for part in changed))

    def _occlusion(self, copied: tuple[int, ...], order: tuple[int, ...] | None) -> Tensor:
        """Return the occlusion matrix (1, N, N) of the found layers and copies of some of them."""
        occlusion = self.scene.occlusion
        if order is not None:
            return occlusion_of(order, occlusion)
        for layer in copied:
            occlusion = copied_in_front(occlusion, layer - 1)
        return occlusion


@dataclass(frozen=True)
class EditedObject:
    """A found layer, 1..L, and how it is changed."""

    layer: int
    change: Change = Change()


@dataclass(frozen=True)
class EditedScene:
    """One image's scene with its objects changed. They count from 1: the L layers, then copies.

    `order` names all objects, farthest first; None leaves them as found. `source` says which image
    was decomposed, such as its fingerprint.
    """

    renderer: Renderer = field(repr=False, compare=False)
    objects: tuple[EditedObject, ...]
    order: tuple[int, ...] | None = None
    source: str = ""

    @classmethod
    def of(cls, scene: Scene, source: str = "") -> "EditedScene":
        """Return the scene of one image, unedited. Raises DtisError for more than one image."""
        renderer = Renderer(scene)
        return cls(renderer, tuple(map(EditedObject, range(1, renderer.layers + 1))), None, source)

    # Editing

    def change(self, number: int) -> Change:
        """Return how an object is changed, its sprite as it now is. Raises DtisError for none."""
        edited = self._object(number)
        sprite = edited.change.sprite
        sprite = self.renderer.found[edited.layer - 1] if sprite is None else sprite
        return replace(edited.change, sprite=sprite)

    def colour(self, number: int) -> tuple[float, ...]:
        """Return the gains of an object's colours, of a model that has any."""
        edited, parameters = self._object(number), self.renderer.scene.parameters
        at = edited.layer - 1
        if edited.change.colour is not None:
            return edited.change.colour
        found = gains(self.renderer.model, parameters.layer[:, at], parameters.sprite[:, at])
        return tuple(found[0, max(self.change(number).sprite - 1, 0)].tolist())

    def edit(self, number: int, **values: object) -> "EditedScene":
        """Return the scene with some fields of an object's `Change` set.

        Raises DtisError for an object, a field or a value that there is not.
        """
        self._object(number)
        unknown = values.keys() - {f.name for f in fields(Change)}
        if unknown:
            name = sorted(unknown)[0]
            known = [f.name for f in fields(Change)]
            raise DtisError(f"{name}: not a field of an object's change{suggest(name, known)}")
        check_values(self.renderer.model, values)
        old = self.objects[number - 1]
        if values.get("sprite") == self.renderer.found[old.layer - 1]:
            values["sprite"] = None
        objects = list(self.objects)
        objects[number - 1] = replace(old, change=replace(old.change, **values))
        return replace(self, objects=tuple(objects))

    def remove(self, number: int) -> "EditedScene":
        """Return the scene without an object; the numbers of the others stay."""
        return self.edit(number, sprite=0)

    def duplicate(self, number: int) -> "EditedScene":
        """Return the scene with a copy of an object as the last, just in front of the first.

        Raises DtisError for an object that there is not, or for one too many.
        """
        copy = self._object(number)
        if len(self.objects) == MOST:
            raise DtisError(f"object: there are {MOST} already; change or undo one of them")
        order = list(self.depth_order)
        new = len(self.objects) + 1
        order.insert(order.index(number) + 1, new)
        longer = replace(self, objects=(*self.objects, copy))
        # As long as found occlusions tell where the copy is, they stay, which may be no order.
        keeps = self.order is None and number <= self.renderer.layers
        return longer if keeps else replace(longer, order=tuple(order))

    def move_to(self, number: int, depth: int) -> "EditedScene":
        """Return the scene with `depth` objects behind one, of those there are, shown or not.

        Found occlusions that are no order of depths give way to the one nearest to them. Raises
        DtisError for a depth out of range.
        """
        self._object(number)
        if type(depth) is not int or not 0 <= depth < len(self.objects):
            raise DtisError(f"depth: must be in 0..{len(self.objects) - 1}, found {depth!r}")
        order = [other for other in self.depth_order if other != number]
        return replace(self, order=(*order[:depth], number, *order[depth:]))

    @property
    def depth_order(self) -> tuple[int, ...]:
        """All objects, farthest first; by how many each hides where that is no order."""
        if self.order is not None:
            return self.order
        hides = self._occlusion[0].sum(dim=1).tolist()
        return tuple(sorted(range(1, len(hides) + 1), key=lambda number: hides[number - 1]))

    def _object(self, number: int) -> EditedObject:
        if type(number) is not int or not 1 <= number <= len(self.objects):
            raise DtisError(f"object: must be in 1..{len(self.objects)}, found {number!r}")
        return self.objects[number - 1]

    # Drawing

    @property
    def _copied(self) -> tuple[int, ...]:
        return tuple(edited.layer for edited in self.objects[self.renderer.layers :])

    @property
    def _occlusion(self) -> Float[Tensor, "1 N N"]:
        return self.renderer.occlusion(self._copied, self.order)

    @torch.no_grad()
    def render(self) -> Picture:
        """Draw the scene, (H, W, C)."""
        renderer, scene = self.renderer, self.renderer.scene
        with one_thread():
            drawn = [renderer.object(edited.layer, edited.change) for edited in self.objects]
            alphas, colours = (torch.cat(part, dim=1) for part in zip(*drawn, strict=True))
            if renderer.model.config.backgrounds:
                old = scene.decomposition
                alphas = torch.cat([old.alphas[:, :1], alphas], dim=1)  # (1, N + 1, 1, H, W)
                colours = torch.cat([old.colours[:, :1], colours], dim=1)
            image = compose(alphas, colours, renderer.model.below(self._occlusion))
            return to_pixels(image[0])

    def render_object(self, number: int) -> Picture:
        """Draw one object by itself, (H, W, C + 1): colours, then transparency."""
        edited = self._object(number)
        with one_thread():
            alpha, colour = self.renderer.object(edited.layer, edited.change)
            return to_pixels(torch.cat([colour, alpha], dim=2)[0, 0])

    # Saying it again

    @property
    def calls(self) -> list[tuple[str, dict]]:
        """The methods of `Scene`, with their arguments, that make this scene of what was found."""
        L = self.renderer.layers
        copies = [("duplicate", {"layer": edited.layer}) for edited in self.objects[L:]]
        edits = [
            ("edit", {"layer": number, **edited.change.used})
            for number, edited in enumerate(self.objects, 1)
            if edited.change.used
        ]
        return copies + edits + ([("arrange", {"order": self.order})] if self.order else [])

    def scene(self) -> Scene:
        """Return the scene as `Scene`'s own methods make it."""
        scene = self.renderer.scene
        for name, arguments in self.calls:
            scene = getattr(scene, name)(**arguments)
        return scene

    def python(self, image: int = 0) -> str:
        """Return the Python that makes this scene of a `run` and the image `images[image]`."""
        lines = [f"scene = run.decompose(images[{image}:{image + 1}])"]
        for name, arguments in self.calls:
            text = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            lines.append(f"scene = scene.{name}({text})")
        return "\n".join([*lines, "picture = scene.reconstruction[0]", ""])


@dataclass(frozen=True)
class History:
    """The states of an edited scene, the present one last; `step` names what made it."""

    states: tuple[EditedScene, ...]
    step: object = None

    @property
    def present(self) -> EditedScene:
        """The last state."""
        return self.states[-1]

    def changed(self, state: EditedScene, step: object) -> "History":
        """Return the history with a new state; one of the same step as the last replaces that.

        So all ticks of one drag undo together. A state equal to the present one adds nothing.
        """
        if state == self.present:
            return self
        merges = step is not None and step == self.step
        kept = self.states[:-1] if merges else self.states
        return History((*kept, state)[-STEPS:], step)

    def undone(self) -> "History":
        """Return the history without its last state; the first one stays."""
        return History(self.states[:-1] or self.states)
