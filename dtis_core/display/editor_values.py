"""What the editor's controls stand for: the edit that a new value makes, and the values to show."""

import numpy as np
from matplotlib.colors import to_hex, to_rgb

from dtis_core.scenes.edited_scene import EditedScene


def with_value(
    scene: EditedScene, number: int, name: str, value: object, point: int
) -> EditedScene:
    """Return a scene after the new value of the control `name`.

    `number` is the object that the controls change, from 1, and `point` its control point, from 1.
    Raises DtisError for a value that the model or the scene cannot have.
    """
    change = scene.change(number)
    match name:
        case "depth":
            return scene.move_to(number, value)
        case "colour":
            gains = tuple(round(gain, 3) for gain in to_rgb(value))
            return scene.edit(number, colour=gains)
        case "right":
            return scene.edit(number, shift=(value, change.shift[1]))
        case "down":
            return scene.edit(number, shift=(change.shift[0], value))
        case "point right" | "point down":
            bend = {point: (x, y) for point, x, y in change.bend}
            x, y = bend.pop(point, (0.0, 0.0))
            at = (value, y) if name == "point right" else (x, value)
            bend |= {point: at} if at != (0, 0) else {}
            return scene.edit(number, bend=tuple((p, *bend[p]) for p in sorted(bend)))
    return scene.edit(number, **{name: value})


def values_of(scene: EditedScene, number: int, point: int, coloured: bool) -> dict[str, object]:
    """Return the values by which controls show an object as the scene has it.

    `number` and `point` as for `with_value`; `coloured` says whether the model has colours.
    """
    change = scene.change(number)
    values = {"sprite": change.sprite, "depth": scene.depth_order.index(number)}
    if coloured:
        values["colour"] = to_hex(np.clip(scene.colour(number), 0, 1))
    x, y = {point: (x, y) for point, x, y in change.bend}.get(point, (0.0, 0.0))
    values |= {"point right": x, "point down": y, "scale": change.scale, "angle": change.angle}
    return values | dict(zip(("right", "down"), change.shift, strict=True))
