"""The scene editor driven from Python, as a front end would drive it."""

import asyncio
import base64
import io
import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from dtis_core import datasets
from dtis_core.cli import main
from dtis_core.config import load_preset
from dtis_core.display import editor as editor_module
from dtis_core.display.editor import SceneEditor
from dtis_core.display.stage_data import described, edits_of
from dtis_core.errors import DtisError
from dtis_core.pictures import to_bytes, to_pictures
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.run import Run
from dtis_core.scenes.scene import Parts
from dtis_core.search.seeking import build_model


def decoded(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def a_run(layer_transformations="[tint, placement]", *settings):
    """A model of random sprites, untrained: what it makes of images is nonsense, yet editable."""
    config = load_preset("tetrominoes").override(
        [f"model.layer_transformations={layer_transformations}", "model.sprites=4", *settings]
    )
    torch.manual_seed(0)
    model = build_model(config.model, config.search).eval()
    torch.nn.init.uniform_(model.sprites.appearances, 0.2, 0.8)
    return Run(RunFolder("nowhere"), config, model)


IMAGES = datasets.load("tetrominoes", "validation", 2).images


@pytest.fixture
def editor():
    return SceneEditor(a_run(), IMAGES)


def test_what_an_editor_displays_holds_its_pictures_and_its_python(editor):
    editor.set(x=0.2)
    bundle = editor._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == editor.model_id
    panel = decoded(base64.b64decode(bundle["image/png"]))
    zoomed = editor.picture.repeat(4, axis=0).repeat(4, axis=1)
    assert (panel[20:, :140] == IMAGES[0].repeat(4, axis=0).repeat(4, axis=1)).all()
    assert (panel[20:, 296:436] == zoomed).all()
    assert bundle["text/plain"] == editor.code.value


def test_editor_starts_with_the_scene_as_found(editor):
    for image in (0, 1):
        editor.controls["image"].value = image
        found = editor.unedited[image]
        assert editor.values["sprite"] == found.sprite_index[0, 0]
        assert torch.equal(editor.scene.reconstruction, found.reconstruction)
        shown = decoded(editor.pictures["reconstruction"].value)
        assert np.array_equal(shown, to_bytes(to_pictures(found.reconstruction[0])))
        assert editor.stage.description == described(found)
        assert editor.stage.edits == edits_of(found)
        assert np.array_equal(decoded(editor.pictures["image"].value), IMAGES[image])
    assert editor.buttons["Undo"].disabled


def test_editor_applies_the_edits_of_all_layers(editor):
    editor.set(sprite=3, colour="#ff0000", x=0.2, size=1.5)
    editor.set(object=2, sprite=0)
    editor.set(object=3, in_front_of=0, y=-0.1)
    wanted = editor.unedited[0].edit(1, sprite=3, colour=(1.0, 0, 0), shift=(0.2, 0), scale=1.5)
    wanted = wanted.edit(2, sprite=0).edit(3, shift=(0.0, -0.1), to_back=True)
    assert editor.message.value == ""
    assert torch.equal(editor.scene.reconstruction, wanted.reconstruction)
    assert np.array_equal(editor.picture, to_bytes(to_pictures(wanted.reconstruction[0])))
    assert editor.stage.edits == edits_of(wanted)
    names = {"run": a_run(), "images": IMAGES}
    exec(editor.code.value, names)
    assert torch.equal(names["picture"], wanted.reconstruction[0])


def test_editor_remembers_each_object_and_resets_one_image(editor):
    editor.set(x=0.3, object=2)
    assert editor.values["x"] == 0
    editor.set(image=1, y=0.4)
    editor.buttons["Reset"].click()
    assert editor.values["y"] == 0
    editor.set(image=0, object=1)
    assert editor.values["x"] == 0.3


def test_undo_takes_back_a_drag_a_copy_and_a_reset(editor, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for tick in range(1, 5):
        now[0] += 0.1
        editor.controls["x"].value = tick / 10
    now[0] += 5  # another drag of the same slider
    editor.controls["x"].value = 0.5
    editor.buttons["Duplicate"].click()
    assert editor.values["object"] == 4 and editor.values["x"] == 0.5
    editor.buttons["Reset"].click()
    assert editor.values["object"] == 3
    editor.buttons["Undo"].click()
    assert len(editor.scene.objects) == 4
    editor.controls["object"].value = 1
    seen = []
    while not editor.buttons["Undo"].disabled:
        editor.buttons["Undo"].click()
        seen.append(editor.values["x"])
    assert seen == [0.5, 0.4, 0.0]


def test_a_removed_object_says_so_and_comes_back(editor):
    found = editor.values["sprite"]
    editor.buttons["Remove"].click()
    assert editor.values["sprite"] == 0
    assert editor.controls["object"].options[0] == ("1 (removed)", 1)
    assert not decoded(editor.pictures["object"].value)[..., 3].any()
    editor.set(sprite=found)
    assert editor.scene == editor.unedited[0]
    assert editor.controls["object"].options[0] == ("1", 1)


def test_editor_never_encodes_again(editor):
    calls = []
    model = editor.unedited[0].model
    model.predictor.register_forward_hook(lambda *_: calls.append(1))
    for name, value in {"x": 0.1, "sprite": 2, "in front of": 2, "image": 1}.items():
        editor.controls[name].value = value
    for name in ("Duplicate", "Remove", "Undo", "Reset"):
        editor.buttons[name].click()
    assert not calls


def test_a_tick_takes_one_thread_and_gives_the_others_back(editor, monkeypatch):
    used, threads = [], torch.get_num_threads()
    changed = Parts.changed

    def counted(parts, *of):
        used.append(torch.get_num_threads())
        return changed(parts, *of)

    monkeypatch.setattr(Parts, "changed", counted)
    torch.set_num_threads(2)
    try:
        editor.controls["x"].value = 0.2
        assert used == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def controls_of(layer, sprite="[]", *settings, images=IMAGES[:1]):
    run = a_run(layer, f"model.sprite_transformations={sprite}", *settings)
    return list(SceneEditor(run, images).controls)


def test_editor_leaves_out_what_the_model_cannot_change():
    start, place = ["object", "sprite"], ["in front of", "x", "y"]
    alone = ["model.layers=1", "model.sprite_size=[35, 35]"]
    point = ["point", "point x", "point y"]
    assert controls_of("[placement]") == [*start, *place, "size"]
    assert controls_of("[tint, translation]", images=IMAGES) == [
        "image", *start, "colour", *place,
    ]  # fmt: skip
    assert controls_of("[tint, placement]", "[projective]") == [
        *start, "colour", *place, "size", "angle",
    ]  # fmt: skip
    assert controls_of("[colour, projective, tps]", "[]", *alone) == [
        *start, "colour", *place, "size", "angle", *point,
    ]  # fmt: skip


def test_depth_hides_where_there_is_but_one_object():
    editor = SceneEditor(a_run("[tint, placement]", "model.layers=1"), IMAGES[:1])
    assert editor.controls["in front of"].layout.display == "none"
    editor.buttons["Duplicate"].click()
    assert editor.controls["in front of"].layout.display is None
    assert editor.values["in front of"] == 1


def test_every_control_has_a_label_and_says_what_it_does(editor):
    controls = [*editor.controls.values(), *editor.buttons.values(), editor.file, editor.code]
    assert all(control.description and control.tooltip for control in controls)


def test_control_points_are_bent_and_shown():
    alone = ["model.layers=1", "model.sprite_size=[35, 35]"]
    editor = SceneEditor(a_run("[tint, tps]", *alone), IMAGES[:1])
    before = decoded(editor.pictures["object"].value)
    editor.set(point=1, point_x=0.1, point_y=0.2)
    assert editor.scene.objects[0].change.bend == ((1, 0.1, 0.2),)
    assert editor.message.value == ""
    after = decoded(editor.pictures["object"].value)
    chosen = [round(255 * gain) for gain in to_rgb("#D55E00")]
    assert (before[11, 11, :3] == chosen).all()  # point 6, at first
    assert (after[7, 3, :3] == chosen).all()  # the corner, moved
    editor.set(point=16, point_x=-0.1)
    assert editor.values["point y"] == 0
    editor.set(point=1, point_x=0.0, point_y=0.0)
    assert editor.scene.objects[0].change.bend == ((16, -0.1, 0.0),)


def test_scenes_are_saved_loaded_and_exported(editor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    editor.set(image=1, x=0.123456, size=1.5)
    editor.buttons["Duplicate"].click()
    state, drawn = editor.scene, editor.picture
    editor.file.value = "mine.json"
    for button in ("Save", "Export"):
        editor.buttons[button].click()
        assert "mine" in editor.message.value and 'role="status"' in editor.message.value
    assert np.array_equal(decoded((tmp_path / "mine.png").read_bytes()), drawn)
    editor.buttons["Reset"].click()
    editor.set(image=0)
    editor.buttons["Load"].click()
    assert editor.image == 1 and editor.scene == state
    editor.set(object=4)
    assert editor.values["x"] == 0.123456


def test_a_file_that_cannot_be_loaded_is_named(editor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text('{"format": 3}')
    for name, message in {"broken": "broken.json: scene: lacks", "": "file: empty"}.items():
        editor.file.value = name
        editor.buttons["Load"].click()
        assert message in editor.message.value and 'role="alert"' in editor.message.value
        assert editor.scene == editor.unedited[0]


def test_an_error_of_a_tick_is_shown(editor, monkeypatch):
    monkeypatch.setattr(Parts, "changed", lambda *of: 1 / 0)
    editor.controls["x"].value = 0.2
    assert "ZeroDivisionError" in editor.message.value


def test_a_control_that_there_is_not_is_named(editor):
    with pytest.raises(DtisError, match="angel: no such control; there are image, object"):
        editor.set(angel=30)


def test_sliders_answer_and_their_bench_says_how_fast(capsys):
    assert main(["bench", "sliders", "--json", "--seconds", "1"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 0 < result["median_ms"] <= result["p95_ms"]
    assert result["ticks"] > 0


def test_while_someone_drags_one_picture_follows_and_the_rest_in_a_lull(monkeypatch):
    monkeypatch.setattr("dtis_core.display.editor.is_live", lambda: True)
    monkeypatch.setattr("dtis_core.display.editor.LULL", 0.02)
    editor = SceneEditor(a_run(), IMAGES[:1])
    edited, alone = editor.stage.edits, editor.pictures["object"].value
    code = editor.code.value

    async def drag():
        for size in (0.6, 0.7, 0.8):
            editor.set(size=size)
            assert editor.stage.edits != edited
            assert editor.pictures["object"].value == alone and editor.code.value == code
        await asyncio.sleep(0.1)

    asyncio.run(drag())
    assert editor.pictures["object"].value != alone and "scale=0.8" in editor.code.value
    assert editor.python == editor.code.value and not editor.buttons["Undo"].disabled


def test_the_jupyter_server_is_told_not_to_hold_small_messages_back():
    """And it does not load PyTorch for that."""
    code = "import dtis_core.display.jupyter_extension, sys; print('torch' in sys.modules)"
    loads = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loads.stdout == "False\n"
    enabled = json.loads((Path(editor_module.__file__).parent / "jupyter_server.json").read_text())
    module = import_module(*enabled["ServerApp"]["jpserver_extensions"])
    usual = module.ZMQChannelsWebsocketConnection
    for given, wanted in ((usual, module.PromptConnection), (str, str)):
        server = SimpleNamespace(web_app=SimpleNamespace(settings={module.CLASS: given}))
        module._load_jupyter_server_extension(server)
        assert server.web_app.settings[module.CLASS] is wanted
    connection, told = object.__new__(module.PromptConnection), []
    handler = SimpleNamespace(set_nodelay=told.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usual, "connect", lambda self: "connected")
        patch.setattr(module.PromptConnection, "websocket_handler", handler)
        assert connection.connect() == "connected" and told == [True]


def by_hand(editor, scene, step):
    """What the browser sends when the hand has made a scene of the present one."""
    editor.stage.set_state({"edits": edits_of(scene), "step": step})


def test_the_hand_and_the_sliders_make_one_scene_with_one_past(editor):
    found = editor.unedited[0]
    for x in (0.1, 0.2, 0.3):
        by_hand(editor, found.edit(2, shift=(x, 0.0)), "drag 2 1")
    assert editor.scene == found.edit(2, shift=(0.3, 0.0))
    editor.stage.set_state({"chosen": 2})
    assert editor.values["object"] == 2 and editor.values["x"] == 0.3
    editor.set(size=1.5)
    copied = editor.scene.duplicate(2)
    by_hand(editor, copied, "copy 2")
    editor.stage.set_state({"chosen": 4})
    assert editor.values["object"] == 4 and editor.values["size"] == 1.5
    seen = [len(editor.histories[0].states)]
    editor.stage._handle_custom_msg({"does": "undo"}, [])
    assert editor.scene == found.edit(2, shift=(0.3, 0.0), scale=1.5)
    editor.buttons["Undo"].click()
    editor.buttons["Undo"].click()  # the drag, all of it
    assert seen == [4] and editor.scene == found and editor.stage.edits == edits_of(found)
    for _ in range(3):
        editor.buttons["Redo"].click()
    assert editor.scene == copied and editor.buttons["Redo"].disabled


def test_a_copy_made_by_hand_is_what_the_sliders_change(editor):
    copied = editor.unedited[0].duplicate(2).edit(4, shift=(0.1, 0.0))
    state = {"edits": edits_of(copied), "step": "copy 1", "chosen": 4}
    editor.stage.set_state(state)  # in one message, as a front end that waits sends it
    assert editor.values["object"] == 4 and editor.values["x"] == 0.1
    editor.set(y=0.2)
    assert editor.scene == copied.edit(4, shift=(0.0, 0.2))
    assert editor.stage.chosen == 4


def test_an_edit_while_the_hand_holds_nothing_chooses_nothing(editor):
    assert editor.stage.chosen == 0
    by_hand(editor, editor.unedited[0].edit(2, sprite=0), "hide 2")
    assert editor.stage.chosen == 0 and editor.values["object"] == 1
    editor.set(object=3)
    assert editor.stage.chosen == 3
    editor.stage.set_state({"chosen": 0})
    assert editor.values["object"] == 3


def test_a_drag_makes_no_picture_of_what_it_does_not_change(editor, monkeypatch):
    made = []
    monkeypatch.setattr("dtis_core.display.editor.png_bytes", lambda *of, **how: made.append(1))
    monkeypatch.setattr(editor, "_follow", lambda: None)
    by_hand(editor, editor.unedited[0].edit(1, shift=(0.1, 0.0)), "drag 1")
    assert not made


def test_a_slider_that_rounds_what_the_hand_did_changes_nothing(editor):
    moved = editor.unedited[0].edit(1, shift=(0.0784, 0.0))
    by_hand(editor, moved, "drag 1")
    editor.controls["x"].set_state({"value": 0.08})  # as the front end rounds it
    assert editor.scene == moved
    editor.controls["x"].set_state({"value": 0.09})
    assert editor.scene == editor.unedited[0].edit(1, shift=(0.09, 0.0))


def test_what_the_hand_cannot_do_is_said_and_changes_nothing(editor):
    editor.stage.set_state({"edits": {"objects": [{"layer": 1, "sprite": 99}], "order": None}})
    assert "objects" in editor.message.value
    assert editor.scene == editor.unedited[0]
    edits = edits_of(editor.scene)
    edits["objects"][0]["sprite"] = 99
    editor.stage.set_state({"edits": edits})
    assert "objects[0].sprite" in editor.message.value
    assert editor.scene == editor.unedited[0]


def test_objects_that_the_hand_leaves_alone_are_not_drawn_again(editor, monkeypatch):
    drawn = []
    changed = Parts.changed
    monkeypatch.setattr(Parts, "changed", lambda self, *of: drawn.append(of) or changed(self, *of))
    moved = editor.unedited[0].edit(1, shift=(0.1, 0.0)).edit(2, shift=(0.1, 0.0))
    by_hand(editor, moved, "drag 1")
    drawn.clear()
    by_hand(editor, moved.edit(2, shift=(0.1, 0.0)), "drag 2")
    assert len(drawn) <= 2  # one by the hand here, one by the editor
