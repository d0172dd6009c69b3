"""The scene editor's controls: what each shows of a scene, and the scene that its value makes."""

from dataclasses import replace

import ipywidgets as widgets
from matplotlib.colors import to_hex, to_rgb

from dtis_core.model.transformations import ThinPlateSpline
from dtis_core.scenes.change import abilities
from dtis_core.scenes.scene import Scene

PER_SIDE = ThinPlateSpline.per_side
SLIDERS = {  # name: the ability it needs; low, high, start, step; tooltip
    "x": ("shift", (-0.6, 0.6, 0.0, 0.01), "Shift to the right, in image widths"),
    "y": ("shift", (-0.6, 0.6, 0.0, 0.01), "Shift down, in image heights"),
    "size": ("scale", (0.5, 2.0, 1.0, 0.01), "Size, as a multiple of the size found"),
    "angle": ("angle", (-180.0, 180.0, 0.0, 1.0), "Turn, in degrees clockwise"),
    "point x": ("bend", (-0.3, 0.3, 0.0, 0.01), "Shift of the point, in image widths"),
    "point y": ("bend", (-0.3, 0.3, 0.0, 0.01), "Shift of the point, in image heights"),
}


def make_controls(
    able: frozenset[str], images: int, sprites: int
) -> dict[str, widgets.ValueWidget]:
    """Return the controls that make sense for a model and a number of images, by name."""
    controls: dict[str, widgets.ValueWidget] = {}
    if images > 1:
        controls["image"] = widgets.IntSlider(0, 0, images - 1, tooltip="Which of the images")
    controls["object"] = widgets.Dropdown(
        options=[("1", 1)], tooltip="Which object the controls below change"
    )
    controls["sprite"] = widgets.IntSlider(0, 0, sprites, tooltip="Its sprite; 0 removes it")
    if "colour" in able:
        controls["colour"] = widgets.ColorPicker(tooltip="What its sprite is multiplied by")
    controls["in front of"] = widgets.IntSlider(
        0, 0, 1, tooltip="How many of the other objects lie behind it"
    )
    for name, (ability, (low, high, start, step), tooltip) in SLIDERS.items():
        if name == "point x" and ability in able:
            places = [divmod(point, PER_SIDE) for point in range(PER_SIDE**2)]
            controls["point"] = widgets.Dropdown(
                options=[(f"row {y + 1}, column {x + 1}", PER_SIDE * y + x + 1) for y, x in places],
                value=6,
                tooltip="Which control point of its spline",
            )
        if ability in able:
            controls[name] = widgets.FloatSlider(start, min=low, max=high, step=step)
            controls[name].tooltip = tooltip
            controls[name].readout_format = ".0f" if step == 1 else ".2f"
    for name, control in controls.items():
        control.description = name
    return controls


def menu(scene: Scene) -> list[tuple[str, int]]:
    """Return the names and numbers of the objects of one image's scene."""
    options, sprites = [], scene.sprite_index[0].tolist()
    for number, (edited, sprite) in enumerate(zip(scene.objects, sprites, strict=True), 1):
        name = str(number) if number == edited.layer else f"{number}, copy of {edited.layer}"
        options.append((name if sprite else f"{name} (removed)", number))
    return options


def shown(scene: Scene, number: int, point: int) -> dict[str, object]:
    """Return the controls' values, by name, for an object of one image's scene.

    `point` is the chosen one of its spline's.
    """
    change = scene.objects[number - 1].change
    values = {
        "sprite": int(scene.sprite_index[0, number - 1]),
        "in front of": scene.orders[0].index(number),
        "size": change.scale,
        "angle": change.angle,
    }
    if "colour" in abilities(scene.model):
        values["colour"] = to_hex(scene.colour(number)[0].clamp(0, 1).tolist())
    values["x"], values["y"] = change.shift
    at = {point: (x, y) for point, x, y in change.bend}.get(point, (0.0, 0.0))
    values["point x"], values["point y"] = at
    return values


def edited(scene: Scene, number: int, point: int, name: str, value: object) -> Scene:
    """Return the scene after one control's new value, by name, for an object and a point of it."""
    change = scene.objects[number - 1].change
    match name:
        case "in front of":
            return scene.edit(number, depth=value)
        case "colour":
            change = replace(change, colour=tuple(round(gain, 3) for gain in to_rgb(value)))
        case "size":
            change = replace(change, scale=value)
        case "x":
            change = replace(change, shift=(value, change.shift[1]))
        case "y":
            change = replace(change, shift=(change.shift[0], value))
        case "point x" | "point y":
            bend = {point: (x, y) for point, x, y in change.bend}
            x, y = bend.pop(point, (0.0, 0.0))
            at = (value, y) if name == "point x" else (x, value)
            bend |= {point: at} if at != (0, 0) else {}
            change = replace(change, bend=tuple((p, *bend[p]) for p in sorted(bend)))
        case _:
            change = replace(change, **{name: value})
    return scene.changed(number, change)
