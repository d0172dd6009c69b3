"""Watching a training: the widget beside it, and one through a real kernel."""

import io
import time

import numpy as np
from jupyter_client.manager import start_new_kernel
from PIL import Image

from dtis_core import datasets
from dtis_core.config import load_preset
from dtis_core.display.monitor import TrainingMonitor
from dtis_core.training.session import train
from dtis_core.training.trainer import Trainer


def decoded(png):
    return np.asarray(Image.open(io.BytesIO(png)))


IMAGES = datasets.load("tetrominoes", "validation", 2).images
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


BUSY_CELL = """
import time
from types import SimpleNamespace as S
import numpy as np
from dtis_core.display.monitor import TrainingMonitor
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
