"""Widgets driven from Python, as a front end would drive them, and one through a real kernel."""

import base64
import io
import time

import numpy as np
import pytest
import torch
from jupyter_client.manager import start_new_kernel
from PIL import Image

from dtis_core import datasets
from dtis_core.config import load_preset
from dtis_core.errors import DtisError
from dtis_core.model import DTISprites
from dtis_core.monitor import TrainingMonitor
from dtis_core.runs import RunFolder
from dtis_core.scene import Run
from dtis_core.trainer import Trainer
from dtis_core.training import train
from dtis_core.widgets import (
    SceneEditor,
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


def a_run(layer_transformations="[tint, placement]"):
    """A model of random sprites, untrained: what it makes of images is nonsense, yet editable."""
    config = load_preset("tetrominoes").override(
        [f"model.layer_transformations={layer_transformations}", "model.sprites=4"]
    )
    torch.manual_seed(0)
    model = DTISprites(config.model).eval()
    torch.nn.init.uniform_(model.sprites.appearances, 0.2, 0.8)
    return Run(RunFolder("nowhere"), config, model)


IMAGES = datasets.load("tetrominoes", "test", 2).images


@pytest.fixture
def editor():
    return SceneEditor(a_run(), IMAGES)


def test_what_an_editor_displays_holds_its_picture(editor):
    assert base64.b64decode(editor._repr_mimebundle_()["image/png"]) == editor.image.value


def test_editor_starts_with_the_scene_as_found(editor):
    for image in (0, 1):
        editor.controls["image"].value = image
        found = editor.scenes[image]
        assert editor.values["sprite"] == found.sprite_index[0, 0]
        difference = editor.edited(image).reconstruction - found.reconstruction
        assert difference.abs().max() < 1e-6


def test_editor_applies_the_edits_of_all_layers(editor):
    editor.set(sprite=3, recolour=True, colour="#ff0000", right=0.2, scale=1.5)
    editor.controls["layer"].value = 2
    editor.set(sprite=0)
    editor.controls["layer"].value = 3
    editor.set(depth="to the back", down=-0.1)
    wanted = editor.scenes[0].edit(1, sprite=3, colour=(1.0, 0, 0), shift=(0.2, 0), scale=1.5)
    wanted = wanted.edit(2, sprite=0).edit(3, shift=(0.0, -0.1), to_back=True)
    assert editor.message.value == ""
    assert torch.equal(editor.edited(0).reconstruction, wanted.reconstruction)


def test_editor_remembers_each_layer_and_resets_one_image(editor):
    editor.set(right=0.3)
    editor.controls["layer"].value = 2
    assert editor.values["right"] == 0
    editor.controls["image"].value = 1
    editor.set(down=0.4)
    editor.button.click()
    assert editor.values["down"] == 0
    editor.controls["image"].value = 0
    editor.controls["layer"].value = 1
    assert editor.values["right"] == 0.3


def test_editor_never_encodes_again(editor):
    calls = []
    editor.scenes[0].model.predictor.register_forward_hook(lambda *_: calls.append(1))
    for name, value in {"right": 0.1, "sprite": 2, "depth": "to the front", "image": 1}.items():
        editor.controls[name].value = value
    assert not calls


def test_editor_leaves_out_what_the_model_cannot_change():
    editor = SceneEditor(a_run("[placement]"), IMAGES[:1])
    assert not {"recolour", "colour"} & set(editor.controls)
    assert "scale" in editor.controls
    editor = SceneEditor(a_run("[tint, similarity]"), IMAGES[:1])
    assert not {"right", "down", "scale"} & set(editor.controls)
    assert editor.message.value == ""


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
