"""Widgets driven from Python, as a front end would drive them, and one through a real kernel."""

import base64
import io
import json
import time

import numpy as np
import pytest
import torch
from jupyter_client.manager import start_new_kernel
from matplotlib.colors import to_rgb
from PIL import Image

from dtis_core import datasets
from dtis_core.cli import main
from dtis_core.config import load_preset
from dtis_core.editor import SceneEditor
from dtis_core.errors import DtisError
from dtis_core.figures import channels_last
from dtis_core.model import DTISprites
from dtis_core.monitor import TrainingMonitor
from dtis_core.runs import RunFolder
from dtis_core.scene import Run
from dtis_core.trainer import Trainer
from dtis_core.training import train
from dtis_core.widgets import (
    as_bytes,
    captioned,
    explore,
    is_live,
    make_control,
    png_bytes,
)


def decoded(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def shaded(brightness: float, rows: int = 4, kind: str = "plain", wide: bool = False):
    picture = np.full((rows, 6 if wide else 3), round(255 * brightness), np.uint8)
    if kind == "broken":
        raise ValueError("no <such> kind")
    return picture


CONTROLS = {
    "brightness": (0.0, 1.0, 0.2),
    "rows": (1, 9, 4),
    "kind": ["plain", "broken"],
    "wide": False,
}


@pytest.fixture
def panel():
    return explore(shaded, CONTROLS, zoom=2)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (4, 5, 4)])
def test_png_keeps_every_pixel(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(decoded(png_bytes(picture)), picture)


@pytest.mark.parametrize("picture", [np.zeros((4, 5)), np.zeros((4, 5, 2), np.uint8)])
def test_png_of_something_else_is_an_error_that_says_what(picture):
    with pytest.raises(DtisError, match=rf"{picture.dtype} \(4, 5.*as_bytes"):
        png_bytes(picture)


def test_bytes_are_rounded_and_clipped():
    assert as_bytes(np.array([-1, 0, 0.4999, 1, 2])).tolist() == [0, 0, 127, 255, 255]


def test_captioned_shows_all_pictures_unchanged():
    pictures = {name: np.full((3, 40, 3), value, np.uint8) for name, value in (("a", 7), ("b", 9))}
    whole = captioned(pictures, zoom=2)
    for value in (7, 9):
        assert (whole == value).all(axis=2).sum() == 6 * 80


def test_a_slider_renders_at_once_and_in_place(panel):
    before = panel.image
    panel.controls["brightness"].value = 1.0
    assert panel.image is before
    assert np.array_equal(decoded(panel.image.value), np.full((8, 6), 255))


def test_controls_have_their_arguments_names_and_kinds(panel):
    assert [c.description for c in panel.controls.values()] == list(CONTROLS)
    assert panel.values == {"brightness": 0.2, "rows": 4, "kind": "plain", "wide": False}
    assert isinstance(panel.controls["rows"].value, int)


def test_reset_restores_all_controls_and_renders_once(panel):
    start = panel.image.value
    panel.set(brightness=0.9, rows=7, wide=True)
    rendered = []
    panel.image.observe(rendered.append, "value")
    panel.button.click()
    assert panel.values == {"brightness": 0.2, "rows": 4, "kind": "plain", "wide": False}
    assert panel.image.value == start
    assert len(rendered) == 1


def test_an_error_in_render_is_shown_and_goes_away(panel):
    panel.controls["kind"].value = "broken"
    assert "ValueError: no &lt;such&gt; kind" in panel.message.value
    assert panel.image.value == b""
    panel.controls["kind"].value = "plain"
    assert panel.message.value == ""
    assert decoded(panel.image.value).shape == (8, 6)


def test_what_is_displayed_holds_a_plain_picture_beside_the_widget(panel):
    bundle = panel._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.model_id
    assert base64.b64decode(bundle["image/png"]) == panel.image.value
    assert "brightness = 0.2" in bundle["text/plain"]


@pytest.mark.parametrize("values", [(0, 1), (0, 1, 2), (1, 0, 1), [], None])
def test_a_wrong_control_is_named(values):
    with pytest.raises(DtisError, match="control 'angle': found"):
        make_control("angle", values)


def a_run(layer_transformations="[tint, placement]", *settings):
    """A model of random sprites, untrained: what it makes of images is nonsense, yet editable."""
    config = load_preset("tetrominoes").override(
        [f"model.layer_transformations={layer_transformations}", "model.sprites=4", *settings]
    )
    torch.manual_seed(0)
    model = DTISprites(config.model).eval()
    torch.nn.init.uniform_(model.sprites.appearances, 0.2, 0.8)
    return Run(RunFolder("nowhere"), config, model)


IMAGES = datasets.load("tetrominoes", "test", 2).images


@pytest.fixture
def editor():
    return SceneEditor(a_run(), IMAGES)


def test_what_an_editor_displays_holds_its_pictures_and_its_python(editor):
    editor.set(right=0.2)
    bundle = editor._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == editor.model_id
    panel = decoded(base64.b64decode(bundle["image/png"]))
    zoomed = editor.present.render().repeat(4, axis=0).repeat(4, axis=1)
    assert (panel[20:, :140] == IMAGES[0].repeat(4, axis=0).repeat(4, axis=1)).all()
    assert (panel[20:, 296:436] == zoomed).all()
    assert bundle["text/plain"] == editor.code.value


def test_editor_starts_with_the_scene_as_found(editor):
    for image in (0, 1):
        editor.controls["image"].value = image
        found = editor.unedited[image].renderer.scene
        assert editor.values["sprite"] == found.sprite_index[0, 0]
        assert torch.equal(editor.scene.reconstruction, found.reconstruction)
        for name in ("edited", "reconstruction"):
            shown = decoded(editor.pictures[name].value)
            assert np.array_equal(shown, as_bytes(channels_last(found.reconstruction[0])))
        assert np.array_equal(decoded(editor.pictures["image"].value), IMAGES[image])
    assert editor.buttons["Undo"].disabled


def test_editor_applies_the_edits_of_all_layers(editor):
    editor.set(sprite=3, colour="#ff0000", right=0.2, scale=1.5)
    editor.set(object=2, sprite=0)
    editor.set(object=3, depth=0, down=-0.1)
    wanted = editor.unedited[0].renderer.scene
    wanted = wanted.edit(1, sprite=3, colour=(1.0, 0, 0), shift=(0.2, 0), scale=1.5)
    wanted = wanted.edit(2, sprite=0).edit(3, shift=(0.0, -0.1), to_back=True)
    assert editor.message.value == ""
    assert torch.equal(editor.scene.reconstruction, wanted.reconstruction)
    shown = decoded(editor.pictures["edited"].value)
    assert np.array_equal(shown, as_bytes(channels_last(wanted.reconstruction[0])))
    names = {"run": a_run(), "images": IMAGES}
    exec(editor.code.value, names)
    assert torch.equal(names["picture"], wanted.reconstruction[0])


def test_editor_remembers_each_object_and_resets_one_image(editor):
    editor.set(right=0.3, object=2)
    assert editor.values["right"] == 0
    editor.set(image=1, down=0.4)
    editor.buttons["Reset"].click()
    assert editor.values["down"] == 0
    editor.set(image=0, object=1)
    assert editor.values["right"] == 0.3


def test_undo_takes_back_a_drag_a_copy_and_a_reset(editor, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for tick in range(1, 5):
        now[0] += 0.1
        editor.controls["right"].value = tick / 10
    now[0] += 5  # another drag of the same slider
    editor.controls["right"].value = 0.5
    editor.buttons["Duplicate"].click()
    assert editor.values["object"] == 4 and editor.values["right"] == 0.5
    editor.buttons["Reset"].click()
    assert editor.values["object"] == 3
    editor.buttons["Undo"].click()
    assert len(editor.present.objects) == 4
    editor.controls["object"].value = 1
    seen = []
    while not editor.buttons["Undo"].disabled:
        editor.buttons["Undo"].click()
        seen.append(editor.values["right"])
    assert seen == [0.5, 0.4, 0.0]


def test_a_removed_object_says_so_and_comes_back(editor):
    found = editor.values["sprite"]
    editor.buttons["Remove"].click()
    assert editor.values["sprite"] == 0
    assert editor.controls["object"].options[0] == ("1 (removed)", 1)
    assert not decoded(editor.pictures["object"].value)[..., 3].any()
    editor.set(sprite=found)
    assert editor.present == editor.unedited[0]
    assert editor.controls["object"].options[0] == ("1", 1)


def test_editor_never_encodes_again(editor):
    calls = []
    model = editor.unedited[0].renderer.model
    model.predictor.register_forward_hook(lambda *_: calls.append(1))
    for name, value in {"right": 0.1, "sprite": 2, "depth": 2, "image": 1}.items():
        editor.controls[name].value = value
    for name in ("Duplicate", "Remove", "Undo", "Reset"):
        editor.buttons[name].click()
    assert not calls


def controls_of(layer, sprite="[]", *settings, images=IMAGES[:1]):
    run = a_run(layer, f"model.sprite_transformations={sprite}", *settings)
    return list(SceneEditor(run, images).controls)


def test_editor_leaves_out_what_the_model_cannot_change():
    start, place = ["object", "sprite"], ["depth", "right", "down"]
    alone = ["model.layers=1", "model.sprite_size=[35, 35]"]
    point = ["point", "point right", "point down"]
    assert controls_of("[placement]") == [*start, *place, "scale"]
    assert controls_of("[tint, translation]", images=IMAGES) == [
        "image", *start, "colour", *place,
    ]  # fmt: skip
    assert controls_of("[tint, placement]", "[projective]") == [
        *start, "colour", *place, "scale", "angle",
    ]  # fmt: skip
    assert controls_of("[colour, projective, tps]", "[]", *alone) == [
        *start, "colour", *place, "scale", "angle", *point,
    ]  # fmt: skip


def test_depth_hides_where_there_is_but_one_object():
    editor = SceneEditor(a_run("[tint, placement]", "model.layers=1"), IMAGES[:1])
    assert editor.controls["depth"].layout.display == "none"
    editor.buttons["Duplicate"].click()
    assert editor.controls["depth"].layout.display is None
    assert editor.values["depth"] == 1


def test_every_control_has_a_label_and_says_what_it_does(editor):
    controls = [*editor.controls.values(), *editor.buttons.values(), editor.file, editor.code]
    assert all(control.description and control.tooltip for control in controls)


def test_control_points_are_bent_and_shown():
    alone = ["model.layers=1", "model.sprite_size=[35, 35]"]
    editor = SceneEditor(a_run("[tint, tps]", *alone), IMAGES[:1])
    before = decoded(editor.pictures["object"].value)
    editor.set(point=1, point_right=0.1, point_down=0.2)
    assert editor.present.change(1).bend == ((1, 0.1, 0.2),)
    assert editor.message.value == ""
    after = decoded(editor.pictures["object"].value)
    chosen = [round(255 * gain) for gain in to_rgb("#D55E00")]
    assert (before[11, 11, :3] == chosen).all()  # point 6, at first
    assert (after[7, 3, :3] == chosen).all()  # the corner, moved
    editor.set(point=16, point_right=-0.1)
    assert editor.values["point down"] == 0
    editor.set(point=1, point_right=0.0, point_down=0.0)
    assert editor.present.change(1).bend == ((16, -0.1, 0.0),)


def test_scenes_are_saved_loaded_and_exported(editor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    editor.set(image=1, right=0.123456, scale=1.5)
    editor.buttons["Duplicate"].click()
    state = editor.present
    editor.file.value = "mine.json"
    for button in ("Save", "Export"):
        editor.buttons[button].click()
        assert "mine" in editor.message.value and 'role="status"' in editor.message.value
    assert np.array_equal(decoded((tmp_path / "mine.png").read_bytes()), state.render())
    editor.buttons["Reset"].click()
    editor.set(image=0)
    editor.buttons["Load"].click()
    assert editor.image == 1 and editor.present == state
    editor.set(object=4)
    assert editor.values["right"] == 0.123456


def test_a_file_that_cannot_be_loaded_is_named(editor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text('{"format": 3}')
    for name, message in {"broken": "broken.json: scene: lacks", "": "file: empty"}.items():
        editor.file.value = name
        editor.buttons["Load"].click()
        assert message in editor.message.value and 'role="alert"' in editor.message.value
        assert editor.present == editor.unedited[0]


def test_an_error_of_a_tick_is_shown(editor, monkeypatch):
    monkeypatch.setattr(type(editor.present), "render", lambda self: 1 / 0)
    editor.controls["right"].value = 0.2
    assert "ZeroDivisionError" in editor.message.value


def test_a_control_that_there_is_not_is_named(editor):
    with pytest.raises(DtisError, match="angel: no such control; there are image, object"):
        editor.set(angel=30)


def test_sliders_answer_and_their_bench_says_how_fast(capsys):
    assert main(["bench", "sliders", "--json", "--seconds", "1"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 0 < result["median_ms"] <= result["p95_ms"]
    assert result["ticks"] > 0


SMALL = ["data.count=8", "training.batch_size=2", "model.sprites=3", "training.frozen=0"]


def test_watching_changes_nothing_and_the_button_stops(tmp_path):
    config = load_preset("tetrominoes").override(SMALL)
    monitor = TrainingMonitor()
    monitor.button.click()
    watched = train(config, tmp_path / "watched", watcher=monitor, quiet=True)
    alone = train(config, tmp_path / "alone", max_steps=20, quiet=True)
    assert watched.manifest()["step"] == 20
    assert watched.manifest()["status"] == "stopped"
    weights = [(run.path / "model.safetensors").read_bytes() for run in (watched, alone)]
    assert weights[0] == weights[1]
    assert monitor.button.disabled
    assert "step 20 of" in monitor.progress.value


def test_monitor_ends_the_run_when_its_minutes_are_over(monkeypatch):
    trainer = Trainer(load_preset("tetrominoes").override(SMALL), IMAGES, seed=0)
    monitor = TrainingMonitor(minutes=2)
    monkeypatch.setattr(monitor, "picture", lambda trainer, losses: IMAGES[0])
    losses, stops, lines = [], [], []
    for now in (1000.0, 1060.0, 1119.0, 1120.0):
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        trainer.step += 20
        losses.append(0.1)
        stops.append(monitor(trainer, losses))
        lines.append(monitor.progress.value)
    assert stops == [False, False, False, True]
    assert lines[1].endswith("1 images/s, 1 min 0 s left")  # 20 steps of 2 images in a minute
    assert "stopped after 120 s" in lines[3]


def test_live_means_a_server_and_no_batch_run(monkeypatch):
    monkeypatch.delenv("DTIS_FIGURES", raising=False)
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/some.ipynb")
    assert is_live()
    monkeypatch.setenv("DTIS_FIGURES", "figures")
    assert not is_live()
    monkeypatch.delenv("JPY_SESSION_NAME")
    monkeypatch.delenv("DTIS_FIGURES")
    assert not is_live()


BUSY_CELL = """
import time
from types import SimpleNamespace as S
import numpy as np
from dtis_core.monitor import TrainingMonitor
monitor = TrainingMonitor()
monitor.picture = lambda trainer, losses: np.zeros((4, 4, 3), np.uint8)
trainer = S(step=20, length=10**6, config=S(training=S(batch_size=32)))
print("button", monitor.button.model_id, flush=True)
while not monitor(trainer, [0.1] * len(monitor.steps + [0])):
    trainer.step += 20
    time.sleep(0.05)
print("stopped at", trainer.step)
"""


def test_the_button_works_while_the_cell_runs(tmp_path, monkeypatch):
    """As JupyterLab does it: a click is a message to a subshell, handled beside the main thread."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    manager, client = start_new_kernel()
    try:
        request = client.session.msg("create_subshell_request")
        client.control_channel.send(request)
        subshell = client.get_control_msg(timeout=20)["content"]["subshell_id"]
        client.execute(BUSY_CELL)
        printed, clicked, end = "", False, time.monotonic() + 120
        while "stopped at" not in printed and time.monotonic() < end:
            message = client.get_iopub_msg(timeout=60)
            assert message["msg_type"] != "error", message["content"]["traceback"]
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]
            if message["msg_type"] == "display_data" and not clicked:
                data = {"method": "custom", "content": {"event": "click"}}
                content = {"comm_id": printed.split()[1], "data": data}
                click = client.session.msg("comm_msg", content)
                click["header"]["subshell_id"] = subshell
                client.shell_channel.send(click)
                clicked = True
        assert "stopped at" in printed
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
