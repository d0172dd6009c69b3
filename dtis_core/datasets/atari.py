"""Atari games: frames where sprites come from, with the console's memory as the truth.

A game of the Atari 2600 is an image model of layers: few sprites, moved by a few bytes. Frames come
from `ale-py`, the extra `games`, and a seeded random player; none is shipped. Which byte holds what
is published: Anand et al., *Unsupervised State Representation Learning in Atari*, NeurIPS 2019,
annotated the memory. From byte to pixel it is an offset, found on training frames; see `GAMES`.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, UInt8

from dtis_core.datasets import Request, SceneDataset, check_split, fingerprint, register
from dtis_core.datasets.cache import cached
from dtis_core.datasets.records import CHUNK, generated
from dtis_core.errors import DtisError, suggest

COUNTS = {"train": 2000, "validation": 320, "final": 320}  # streams in this order
EVERY = 4  # frames of the console between two images, during which the player holds one action
LATEST = 1500  # frames at most by which a start is put off, so that streams begin differently


@dataclass(frozen=True)
class Axis:
    """Where an object's middle is: `offset` plus, or minus where `down`, the byte, in pixels.

    Pixels are the screen's, from 0 at its left or top. Without a `byte` it stays where it is. Of an
    object that may face either way, `turned` is the byte that says so, and what is added to the
    middle where that is not 0.
    """

    offset: float
    byte: int | None = None
    down: bool = False
    turned: tuple[int, float] | None = None

    def read(self, memory: UInt8[np.ndarray, "N 128"]) -> Float[np.ndarray, " N"]:
        """Return the middles in N states of the memory."""
        if self.byte is None:
            return np.full(len(memory), self.offset)
        value = memory[:, self.byte].astype(float)
        middle = self.offset + (-value if self.down else value)
        if self.turned is None:
            return middle
        byte, more = self.turned
        return middle + more * (memory[:, byte] > 0)


@dataclass(frozen=True)
class Thing:
    """An object of a game: its kind, its width and height on the screen, and where it is.

    It is nowhere while the byte `absent`, if there is one, is 0.
    """

    name: str
    kind: str
    size: tuple[int, int]
    x: Axis
    y: Axis
    absent: int | None = None


@dataclass(frozen=True)
class Game:
    """What is seen of a game, and what is in it.

    `rows` and `columns` are cut out of the 210 x 160 pixels of the screen; `smaller` is how many of
    them, each way, are averaged to one. The player draws from `actions`, by the console's numbers,
    and is left alone for the first `skip` frames. A game is over, for us, when the byte `over`, if
    there is one, is not 0.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    smaller: int
    actions: tuple[int, ...]
    skip: int
    things: tuple[Thing, ...]
    over: int | None = None

    def picture(self, screen: UInt8[np.ndarray, "210 160 3"]) -> UInt8[np.ndarray, "H W 3"]:
        """Return what is seen of a screen."""
        seen = screen[slice(*self.rows), slice(*self.columns)]
        (height, width), s = seen.shape[:2], self.smaller
        blocks = seen.reshape(height // s, s, width // s, s, 3)
        return blocks.mean(axis=(1, 3)).round().astype(np.uint8)

    def places(
        self, memory: UInt8[np.ndarray, "N 128"]
    ) -> tuple[Float[np.ndarray, "N M 2"], Bool[np.ndarray, "N M"]]:
        """Return the middle (x, y) of what is seen of each thing, and whether any of it is.

        In pixels of the picture, 0 in the middle of the first one.
        """
        middles, lasts = [], []
        for axis, (first, end) in enumerate((self.columns, self.rows)):
            axes = [(thing.x, thing.y)[axis] for thing in self.things]
            middle = np.stack([each.read(memory) for each in axes], axis=1)  # (N, M)
            half = np.array([(t.size[axis] - 1) / 2 for t in self.things])
            low, high = np.maximum(middle - half, first), np.minimum(middle + half, end - 1)
            middles.append(((low + high + 1) / 2 - first) / self.smaller - 0.5)
            lasts.append(high - low)
        there = [memory[:, t.absent] > 0 if t.absent is not None else True for t in self.things]
        there = np.stack([np.broadcast_to(one, len(memory)) for one in there], axis=1)  # (N, M)
        return np.stack(middles, axis=2), there & (np.minimum(*lasts) >= 0)


def _car(lane: int) -> Thing:
    """Return the car of a lane, 0 the topmost; each lane is 16 pixels high."""
    x, y = Axis(1.5 if lane == 4 else 0.5, 117 - lane), Axis(31.5 + 16 * lane)
    return Thing(f"car {lane + 1}", "car", (8, 10), x, y)


NOTHING, UP, RIGHT, LEFT, DOWN = 0, 2, 3, 4, 5  # of the console's 18 actions

GAMES = {
    "pong": Game(
        (34, 194), (0, 160), 2, (NOTHING, RIGHT, LEFT), 80,
        (
            Thing("ball", "ball", (2, 4), Axis(-48.5, 49), Axis(-12.5, 54), absent=54),
            Thing("player", "paddle", (4, 16), Axis(-46.5, 46), Axis(-6, 51)),
            Thing("enemy", "paddle", (4, 16), Axis(-46.5, 45), Axis(-7.5, 50)),
        ),
    ),
    "freeway": Game(
        (24, 196), (8, 160), 2, (UP, UP, DOWN), 30,
        (
            *(_car(lane) for lane in range(10)),
            Thing("chicken", "chicken", (6, 8), Axis(46.5), Axis(196.5, 14, down=True)),
        ),
    ),
    "boxing": Game(
        (40, 180), (32, 128), 2, tuple(range(18)), 60,
        (
            Thing("white", "boxer", (14, 47), Axis(12, 32), Axis(61, 34)),
            Thing("black", "boxer", (14, 47), Axis(9.5, 33), Axis(60, 35)),
        ),
    ),
    "tennis": Game(
        (14, 190), (8, 160), 2, tuple(range(18)), 60,
        (
            Thing("ball", "ball", (2, 2), Axis(-1.5, 16), Axis(189.5, 54, down=True)),
            Thing(
                "far", "player", (8, 20), Axis(2, 26, turned=(56, 7)), Axis(175.5, 24, down=True)
            ),
            Thing(
                "near", "player", (8, 20), Axis(2, 27, turned=(57, 7)), Axis(176.5, 25, down=True)
            ),
        ),
        over=80,
    ),
}  # fmt: skip
"""Offsets were calibrated on training frames, where an object's middle is that of its box without
a stretched arm or a racket. In Freeway the other chicken never moves, so it belongs to the
background. In Tennis the ends are changed after a game, and with them the lines' colours: there it
is over."""


@dataclass(frozen=True)
class Played:
    """Frames of a game, one after the other, and where its things are in them; see `Game.places`.

    Each thousand or so is a new game.
    """

    game: Game
    images: UInt8[np.ndarray, "N H W 3"]
    places: Float[np.ndarray, "N M 2"]
    shown: Bool[np.ndarray, "N M"]


def console(title: str):
    """Return a console with a game in it, an `ale_py.ALEInterface`, at its start.

    Raises DtisError where the extra is not installed.
    """
    try:
        from ale_py import ALEInterface, LoggerMode, roms
    except ImportError as error:
        raise DtisError(
            f"atari-{title}: needs the package ale-py, which is not installed; "
            "pip install 'dtis[games]' brings it"
        ) from error
    ALEInterface.setLoggerMode(LoggerMode.Error)
    machine = ALEInterface()
    machine.setInt("random_seed", 0)
    machine.setFloat("repeat_action_probability", 0.0)
    machine.loadROM(roms.get_rom_path(title))
    return machine


def play(title: str, split: str = "train", count: int | None = None, seed: int = 0) -> Played:
    """Play a game, or take it from the cache: images and truth.

    Splits are independent random players, and a shorter game is the beginning of a longer one. As a
    console draws no number by itself, equal frames do occur in two splits.

    Raises DtisError for an unknown game or split, and without the extra.
    """
    if title not in GAMES:
        raise DtisError(f"unknown game '{title:.80}'{suggest(title, GAMES)}")
    check_split(split, tuple(COUNTS), f"atari-{title}")
    game, count = GAMES[title], count or COUNTS[split]
    version = 1  # count up whenever the frames of a seed change
    key = fingerprint("atari", version, title, game, EVERY, split, count, seed)
    stream, make = (list(COUNTS).index(split),), partial(_make, title=title)
    return Played(game, *cached(f"atari-{key}", lambda: generated(count, seed, stream, make)))


def _load(request: Request, title: str) -> SceneDataset:
    """Return frames of a game, 2,000 for "train" and 320 for "validation" and "final" by default.

    They have no masks: `play` has what is known of them.
    """
    played = play(title, request.split, request.count, request.seed)
    return SceneDataset(f"atari-{title} (played)", played.images, None, None)


PREFIX = "atari-"
for _title in GAMES:
    register(PREFIX + _title, files=False)(partial(_load, title=_title))


def title_of(data: str) -> str | None:
    """Return the title of the game that a data set is of, None for other data."""
    return data.removeprefix(PREFIX) if data.startswith(PREFIX) else None


def _make(
    rng: np.random.Generator, title: str
) -> tuple[UInt8[np.ndarray, "N H W 3"], Float[np.ndarray, "N M 2"], Bool[np.ndarray, "N M"]]:
    """Play a block of frames; return pictures, places and whether things are shown."""
    game, machine = GAMES[title], console(title)
    _begin(game, machine, rng)
    pictures, memory = [], []
    while len(pictures) < CHUNK:
        while _over(game, machine):
            _begin(game, machine, rng)
        _hold(machine, int(rng.choice(game.actions)), EVERY)
        pictures.append(game.picture(machine.getScreenRGB()))
        memory.append(np.array(machine.getRAM()))
    return np.stack(pictures), *game.places(np.stack(memory))


def _begin(game: Game, machine, rng: np.random.Generator) -> None:
    """Start a game anew and play on for a while, past the first frames and those of other games."""
    machine.reset_game()
    _hold(machine, NOTHING, game.skip)
    for _ in range(int(rng.integers(LATEST // EVERY))):
        _hold(machine, int(rng.choice(game.actions)), EVERY)


def _over(game: Game, machine) -> bool:
    ended = game.over is not None and machine.getRAM()[game.over] > 0
    return machine.game_over() or bool(ended)


def _hold(machine, action: int, frames: int) -> None:
    for _ in range(frames):
        machine.act(action)
