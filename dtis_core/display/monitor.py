"""Watch a training run in a notebook: its loss, its sprites and what it makes of images, live.

`TrainingMonitor` is a `training.Watcher`: called with each line of metrics, it draws the model's
present state into one display, in place. It uses no random numbers and changes no weights: a
watched run ends in the same ones as a run that nobody looks at.
"""

import time

import ipywidgets as widgets
import numpy as np
import torch
from IPython.display import DisplayHandle, display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dtis_core.display.figures import decomposition_rows, show_curves, show_images
from dtis_core.display.widgets import Picture, joined, png_bytes
from dtis_core.pictures import to_tensor
from dtis_core.scenes.scene import Scene
from dtis_core.training.trainer import Trainer

BACKDROP = 0.35  # the grey behind a sprite in training, against which white and black both show


class Frame:
    """A picture with a line of text for where pictures do not show."""

    def __init__(self, picture: np.ndarray, text: str):
        self.png, self.text = png_bytes(picture), text

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        """Return the text."""
        return self.text


class TrainingMonitor:
    """Watch a run: `train(config, out, watcher=TrainingMonitor(minutes=3), quiet=True)`.

    One picture, replaced in place: the loss, the sprites and some decompositions of the present
    model. Below it a line of progress, and a button that stops the run as cleanly as its end does.
    The button works while the cell runs where the front end sends clicks to subshells, as
    JupyterLab does; elsewhere interrupt the kernel, which leaves a usable run folder, too.

    `minutes` ends the run; None lets it train to its own end. The picture is drawn every `every`
    seconds, or less often where that would take more than a tenth of the time. A batch run stores
    the last one.
    """

    def __init__(self, minutes: float | None = None, examples: int = 4, every: float = 3.0):
        self.minutes, self.examples, self.every = minutes, examples, every
        self.stopping = False
        self.button = widgets.Button(
            description="Stop", icon="stop", tooltip="Stop training and keep the model"
        )
        self.button.on_click(lambda _: self.stop())
        # ipykernel 7.4 hands a widget's messages to the thread that made it, here the busy one,
        # unless its comm has no such preference.
        self.button.comm._reply_subshell_for = None
        self.progress = widgets.Label("training starts")
        self.frame = DisplayHandle()
        self.steps: list[int] = []  # at which the losses were logged
        self.started = self.redraw = 0.0  # times: of the first call, and of the next picture

    def stop(self) -> None:
        """Let the run stop at its next logged step."""
        self.stopping = True
        self.button.disabled = True
        self.progress.value = "stopping"

    def __call__(self, trainer: Trainer, losses: list[float]) -> bool:
        """Show the state of a run; return whether it shall stop. This is `training.Watcher`."""
        now = time.monotonic()
        self.steps.append(trainer.step)
        first = len(self.steps) == 1
        self.started = now if first else self.started
        over = self.minutes is not None and now - self.started >= 60 * self.minutes
        last = self.stopping or over or trainer.step >= trainer.length
        self.progress.value = self._line(trainer, losses[-1], now - self.started, last)
        if first or last or now >= self.redraw:
            frame = Frame(self.picture(trainer, losses), self.progress.value)
            (self.frame.display if first else self.frame.update)(frame)
            drawn = time.monotonic()
            self.redraw = drawn + max(self.every, 10 * (drawn - now))
        if first:
            display(widgets.HBox([self.button, self.progress]))
        self.button.disabled = last
        return self.stopping or over

    def _line(self, trainer: Trainer, loss: float, seconds: float, last: bool) -> str:
        """Say how far the run is, how fast it goes and how long it will take."""
        text = f"step {trainer.step} of {trainer.length}, loss {loss:.4f}"
        done = trainer.step - self.steps[0]
        left = float("inf") if self.minutes is None else 60 * self.minutes - seconds
        if done:
            text += f", {done * trainer.config.training.batch_size / seconds:.0f} images/s"
            left = min(left, (trainer.length - trainer.step) * seconds / done)
        if last:
            return f"{text}, stopped after {seconds:.0f} s"
        return f"{text}, {left // 60:.0f} min {left % 60:.0f} s left" if left < 1e9 else text

    @torch.no_grad()
    def picture(self, trainer: Trainer, losses: list[float]) -> Picture:
        """Draw the loss, how the first training images decompose, and all sprites."""
        images = trainer.images[: self.examples]
        model = trainer.model_for_use().eval()
        scene = Scene.of(model, model(to_tensor(images)))
        curve = show_curves(
            {"": (self.steps[-len(losses) :], losses)}, "training step", "loss, Eq. (5)", log=True
        )
        rows = decomposition_rows(scene, images.cpu().numpy(), self.examples)
        colour, mask = model.sprite_images().cpu().tensor_split([-1], dim=1)
        sprites = show_images(mask * colour + (1 - mask) * BACKDROP)
        above = joined([as_array(curve), as_array(rows)], axis=1)
        return joined([above, as_array(sprites)], axis=0)


def as_array(figure: Figure) -> Picture:
    """Draw a matplotlib figure, whatever the backend, into an array."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
