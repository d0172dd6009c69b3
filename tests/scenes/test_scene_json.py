"""Scenes written as JSON come back the same, and malformed ones name the field."""

import json
import math

import numpy as np
import pytest
from kinds import IMAGES, everything, only, picture

from dtis_core.errors import DtisError
from dtis_core.scenes.scene_json import from_json, load_scene, save_scene, to_json


def test_json_brings_the_scene_back(unedited):
    edited = everything(unedited).edit(1, sprite=0)
    found, images = [unedited, unedited], IMAGES[::-1]
    index, again = from_json(to_json(edited, IMAGES[0]), found, images)
    assert index == 1 and again == edited
    assert np.array_equal(picture(again), picture(edited))
    assert from_json(to_json(unedited, IMAGES[1]), found, images) == (0, unedited)


def put(*path):
    """Return a function that sets the value at a path of keys, the last of them the value."""

    def change(whole):
        for key in path[:-2]:
            whole = whole[key]
        whole[path[-2]] = path[-1]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda whole: whole.pop("objects"), "scene: lacks the field 'objects'"),
        (put("objcts", 1), "scene: unknown field 'objcts', did you mean 'objects'"),
        (put("format", 2), "format: expected 'dtis scene 1', found 2"),
        (put("model", "0"), "model: the scene was saved with another model than [0-9a-f]{16}"),
        (put("image", "0"), "image: none of these images is the scene's, '0'"),
        (put("objects", []), r"objects: expected a list of 3 to 24, found \[\]"),
        (put("objects", 1, None), r"objects\[1\]: expected an object of fields, found None"),
        (put("objects", 1, {}), r"objects\[1\]: lacks the field 'layer'"),
        (put("objects", 1, "layer", 1), r"objects\[1\].layer: must be 2, found 1"),
        (put("objects", 3, "layer", 9), r"objects\[3\].layer: must be in 1\.\.3, found 9"),
        (put("objects", 0, "scael", 1), r"objects\[0\].scael: not a field of.*, did.*'scale'"),
        (put("objects", 0, "sprite", 1.5), r"objects\[0\].sprite: must be in 0\.\.4, found 1.5"),
        (put("objects", 0, "shift", [0]), r"objects\[0\].shift: expected \(x, y\), found 1"),
        (put("objects", 0, "shift", None), r"objects\[0\].shift: expected \(x, y\), found None"),
        (put("objects", 0, "scale", "2"), r"objects\[0\].scale: must be in 1e-06.*, found '2'"),
        (put("objects", 0, "angle", math.nan), r"objects\[0\].angle: must be in .*, found nan"),
        (put("objects", 0, "angle", 10**400), r"objects\[0\].angle: must be in .*, found 10{70}"),
        (put("objects", 0, "sprite", 10**400), r"objects\[0\].sprite: must be in 0\.\.4"),
        (put("objects", 0, "layer", 10**400), r"objects\[0\].layer: must be 1, found 10{70}"),
        (put("objects", 0, "bend", 4), r"objects\[0\].bend: expected a list"),
        (put("objects", 0, "colour", [1, [], 2]), r"objects\[0\].colour: must be .*, found \(\)"),
        (put("order", [1, 2, 3, 3]), r"order: must name each of the layers 1\.\.4 once"),
        (put("order", {"1": 2}), r"order: must name each of the layers 1\.\.4 once"),
    ],
)
@only("multi-dsprites")
def test_each_malformed_field_is_named(unedited, change, message):
    whole = json.loads(to_json(everything(unedited), IMAGES[0]))
    change(whole)
    with pytest.raises(DtisError, match=f"^{message}") as raised:
        from_json(json.dumps(whole), [unedited], IMAGES[:1])
    assert len(str(raised.value)) < 200 and "\n" not in str(raised.value)


@only("tetrominoes")
def test_what_is_no_json_or_no_scene_is_refused(unedited):
    deep = 100_000 * "["
    nested = to_json(unedited, IMAGES[0]).replace(
        '"order": null', f'"order": {900 * "["}{900 * "]"}'
    )
    for text, message in [
        ("{", "^not JSON"),
        ("", "^not JSON"),
        (9000 * "1", "^not JSON"),
        ("[]", r"^scene: expected an object"),
        (deep, "^scene: nested too deeply"),
        (nested, "^(scene: nested too deeply|order: must name)"),
    ]:
        with pytest.raises(DtisError, match=message):
            from_json(text, [unedited], IMAGES[:1])


@only("tetrominoes")
def test_files_come_back_and_name_themselves_in_errors(unedited, tmp_path):
    path = tmp_path / "scene.json"
    edited = everything(unedited)
    save_scene(path, edited, IMAGES[0])
    assert load_scene(path, [unedited], IMAGES[:1]) == (0, edited)
    with pytest.raises(DtisError, match="nowhere.json: cannot be read"):
        load_scene(tmp_path / "nowhere.json", [unedited], IMAGES[:1])
    path.write_bytes(b"\xff")
    with pytest.raises(DtisError, match="scene.json: cannot be read"):
        load_scene(path, [unedited], IMAGES[:1])
    path.write_text("{}")
    with pytest.raises(DtisError, match="scene.json: scene: lacks the field 'format'"):
        load_scene(path, [unedited], IMAGES[:1])
