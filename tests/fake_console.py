"""A console that is a few lines: two dots, whose places its memory holds."""

import numpy as np
import torch

from dtis_core import datasets
from dtis_core.config import load_preset
from dtis_core.datasets import SceneDataset, atari, records
from dtis_core.datasets.atari import Axis, Game, Thing
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.run import Run
from dtis_core.search.seeking import build_model

BLOCK = 48  # frames of a game, in place of a thousand


class FakeConsole:
    """Two dots of 4 x 4 pixels: one goes where the player says, the other up and away."""

    def __init__(self):
        self.starts = 0

    def reset_game(self):
        self.starts += 1
        self.x, self.y, self.frames = 40, 200, 0

    def game_over(self):
        return self.frames > 3000

    def act(self, action):
        self.frames += 1
        self.x = min(max(self.x + {3: 1, 4: -1}.get(action, 0), 0), 90)
        self.y = (self.y - 1) % 256

    def getRAM(self):
        memory = np.zeros(128, np.uint8)
        memory[[7, 9]] = self.x, self.y
        return memory

    def getScreenRGB(self):
        screen = np.full((210, 160, 3), 20, np.uint8)
        screen[50:54, self.x + 20 : self.x + 24] = 255, 0, 0
        if 0 < self.y <= 150:
            screen[160 - self.y : 164 - self.y, 100:104] = 0, 255, 0
        return screen


DOTS = (
    Thing("dot", "dot", (4, 4), Axis(21.5, 7), Axis(51.5)),
    Thing("climber", "dot", (4, 4), Axis(101.5), Axis(161.5, 9, down=True), absent=9),
)
GAME = Game((20, 100), (30, 150), 2, (0, 3, 4), 10, DOTS)


def shorten(monkeypatch):
    """Let a block of frames be short."""
    for module in (atari, records):
        monkeypatch.setattr(module, "CHUNK", BLOCK)


def with_dots(monkeypatch, folder):
    """Add a game of two dots, with a cache of its own; return the consoles that will be made."""
    monkeypatch.setenv("DTIS_CACHE", str(folder))
    monkeypatch.setitem(atari.GAMES, "dots", GAME)
    made = []

    def console(title):
        made.append(FakeConsole())
        return made[-1]

    def load(request):
        frames = atari.play("dots", request.split, request.count, request.seed)
        return SceneDataset("dots", frames.images, None, None)

    monkeypatch.setattr(atari, "console", console)
    monkeypatch.setitem(datasets.DATASETS, "atari-dots", load)
    shorten(monkeypatch)
    return made


def dots_run(folder):
    """A run in a folder, untrained, for 20 frames of the game of dots."""
    folder.mkdir()
    config = load_preset("tetrominoes").override(
        ["model.image_size=[40, 60]", "model.sprite_size=[8, 8]", "search.inference_steps=1",
         "data.name=atari-dots", "data.held_out=20"]
    )  # fmt: skip
    torch.manual_seed(0)
    return Run(RunFolder(folder), config, build_model(config.model, config.search))
