"""Figures and tables from results; nothing is computed, trained or loaded here but pictures.

Images are arrays in [0, 1] with channels last once they are drawn: (..., h, w, 3). Every figure is
one array of tiles under one `imshow`, which is fast to draw and the same to the pixel everywhere.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, Integer, UInt8
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from dtis_core.display.tables import Table, paper_vs_here, provenance, table  # noqa: F401
from dtis_core.errors import DtisError
from dtis_core.paths import figures_folder
from dtis_core.pictures import to_bytes, to_pictures
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.scene import Scene
from dtis_core.storage.files import replacing

# Okabe and Ito's colours, told apart with every kind of colour vision; black and yellow left out.
HUES = ["#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00"]
LEVELS = [0.0, 0.5, -0.35, 0.75]  # towards white, or towards black where negative
INK, GREY, BEHIND = "#333333", "#8C8C8C", "#1C1C1C"
CHECKS = 0.98, 0.89  # the two greys of the checkerboard that stands for transparency
DARK_CHECKS = 0.5, 0.4  # those behind sprites, which may be white
TILE = 72  # pixels, about the side that small images are enlarged to
GAP = 6  # pixels between tiles
LABEL = 8  # points, of titles beside tiles

STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=[HUES[i] for i in (4, 0, 2, 5, 1, 3)]),
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E8E8E8",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "pdf.fonttype": 42,
}

Array = np.ndarray | Tensor
Pictures = Float[np.ndarray, "*lead h w 3"]
Resized = Float[np.ndarray, "*lead H W 3"]


def style():
    """Return the context in which all figures are drawn: `with style(): plt.subplots()`."""
    return plt.rc_context(STYLE)


def save(fig: Figure, name: str) -> list[Path]:
    """Write `name`.png and `name`.pdf into the folder of figures and return both paths.

    Equal figures give equal bytes: no dates or versions are kept. Raises DtisError where the folder
    cannot be written.
    """
    pdf = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    paths = []
    for ending, metadata in (("png", {"Software": None}), ("pdf", pdf)):
        path = figures_folder() / f"{name}.{ending}"
        with replacing(path) as temporary, style():
            fig.savefig(temporary, format=ending, metadata=metadata)
        paths.append(path)
    return paths


def palette(count: int) -> Float[np.ndarray, "count 3"]:
    """Return colours for objects or sprites 1..count: six hues, then lighter and darker ones.

    They repeat from the 25th on.
    """
    colours = []
    for index in range(count):
        hue = np.array(to_rgb(HUES[index % len(HUES)]))
        level = LEVELS[index // len(HUES) % len(LEVELS)]
        colours.append(hue + (1 - hue) * level if level >= 0 else hue * (1 + level))
    return np.array(colours).reshape(count, 3)


def label_colours(labels: Integer[Array, "*lead h w"], colours: Float[Array, "n 3"]) -> Pictures:
    """Colour a map of labels: 0, the background, nearly black; label i with `colours[i - 1]`."""
    return np.vstack([to_rgb(BEHIND), np.asarray(colours)])[np.asarray(labels)]


def over_checkerboard(
    rgba: Float[Array, "*lead 4 h w"], square: int = 2, checks: tuple[float, float] = CHECKS
) -> Pictures:
    """Lay RGBA images in [0, 1] over a checkerboard, light grey as in Fig. 1 of the paper."""
    picture = to_pictures(rgba)
    rows, columns = np.indices(picture.shape[-3:-1]) // square
    board = np.where((rows + columns) % 2, *checks)[..., None]  # (h, w, 1)
    alpha = picture[..., 3:]
    return alpha * picture[..., :3] + (1 - alpha) * board


def enlarge(pictures: Pictures, side: int = TILE) -> Resized:
    """Repeat pixels a whole number of times, to about `side` pixels; larger pictures stay."""
    factor = max(1, round(side / pictures.shape[-3]))
    return pictures.repeat(factor, axis=-3).repeat(factor, axis=-2)


def with_border(pictures: Pictures, colours: ArrayLike, width: int = 4) -> Resized:
    """Put a border of `width` pixels, of one colour (..., 3) for each picture, around it."""
    *lead, h, w, _ = pictures.shape
    colours = np.broadcast_to(np.asarray(colours, float), (*lead, 3))
    framed = np.empty((*lead, h + 2 * width, w + 2 * width, 3))
    framed[:] = colours[..., None, None, :]
    framed[..., width:-width, width:-width, :] = pictures
    return framed


def mosaic(tiles: Float[np.ndarray, "R C h w 3"], gap: int = GAP) -> Float[np.ndarray, "H W 3"]:
    """Put tiles, row by row, into one picture on white, `gap` pixels apart."""
    R, C, h, w, _ = tiles.shape
    padded = np.ones((R, C, h + gap, w + gap, 3))
    padded[:, :, :h, :w] = tiles
    picture = padded.transpose(0, 2, 1, 3, 4).reshape(R * (h + gap), C * (w + gap), 3)
    return picture[: R * (h + gap) - gap, : C * (w + gap) - gap]


def show_tiles(
    tiles: Float[np.ndarray, "R C h w 3"],
    columns: Sequence[str] = (),
    rows: Sequence[str] = (),
    gap: int = GAP,
) -> Figure:
    """Draw tiles with a title above each column and a label left of each row, where given.

    A pixel of a tile is a dot of the figure, so that nothing is resampled.
    """
    picture = mosaic(tiles, gap)
    h, w = tiles.shape[2:4]
    margin = 0.1 + 0.07 * max(map(len, rows)) if rows else 0.0
    longest = max(map(len, columns), default=0)
    size = min(LABEL, w / (0.85 * longest)) if longest else LABEL  # no title over its neighbour's
    with style():
        inches = np.array(picture.shape[1::-1]) / plt.rcParams["figure.dpi"]
        fig = plt.figure(figsize=(inches[0] + margin, inches[1] + (0.25 if columns else 0.0)))
        fig.set_layout_engine("none")
        total = fig.get_size_inches()
        axes = fig.add_axes((margin / total[0], 0, inches[0] / total[0], inches[1] / total[1]))
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        for index, title in enumerate(columns):
            x = index * (w + gap) + w / 2
            axes.text(x, -gap, title, ha="center", va="bottom", color=INK, fontsize=size)
        for index, label in enumerate(rows):
            y = index * (h + gap) + h / 2
            axes.text(-max(gap, GAP), y, label, ha="right", va="center", color=INK, fontsize=LABEL)
    plt.close(fig)
    return fig


def in_rows(tiles: Float[np.ndarray, "n h w 3"], columns: int) -> Float[np.ndarray, "R C h w 3"]:
    """Break a line of tiles into rows of `columns`; the last is filled up with white."""
    n, h, w, _ = tiles.shape
    columns = min(columns, n)
    missing = np.ones((-n % columns, h, w, 3))
    return np.concatenate([tiles, missing]).reshape(-1, columns, h, w, 3)


def show_images(images: ArrayLike, columns: int = 10) -> Figure:
    """Draw uint8 (n, h, w, 3) or float (n, 3, h, w) images in [0, 1], `columns` in a row."""
    return show_tiles(in_rows(enlarge(to_pictures(images)), columns))


def show_sprites(
    sprites: Float[Array, "K 4 h w"],
    borders: Float[Array, "K 3"] | None = None,
    columns: int = 10,
) -> Figure:
    """Draw sprites on a dark checkerboard, with `borders` as colours around them (Fig. 8).

    Where tints are predicted, sprites are nearly white.
    """
    tiles = enlarge(over_checkerboard(sprites, checks=DARK_CHECKS))
    tiles = tiles if borders is None else with_border(tiles, borders)
    return show_tiles(in_rows(tiles, columns))


def decomposition_rows(scene: Scene, images: ArrayLike | None, n: int = 5) -> Figure:
    """Draw the first `n` images of a scene as in the paper's Figs. 3 and 8.

    From left to right: input, reconstruction, semantic segmentation in the colours of
    `palette(K)`, instance segmentation, then the background, if any, and all object layers on a
    checkerboard with borders in the colours of their instances.

    `images` are those that were decomposed: uint8 (B, H, W, 3) or float (B, 3, H, W); None where
    they are not at hand, and no input is drawn.
    """
    config = scene.model.config
    instances = palette(config.layers)
    semantic = label_colours(scene.semantic_map[:n].cpu(), palette(config.sprites))
    instance = label_colours(scene.instance_map[:n].cpu(), instances)
    plain = [to_pictures(scene.reconstruction[:n].cpu()), semantic, instance]
    rgba = np.concatenate([scene.layers[:n].cpu(), scene.alphas[:n].cpu()], axis=2)
    layers = over_checkerboard(rgba)  # (n, L, H, W, 3)
    titles = ["reconstruction", "semantic", "instance"]
    if images is not None:
        plain, titles = [to_pictures(images[:n]), *plain], ["input", *titles]
    at = len(titles)
    titles += [f"layer {i + 1}" for i in range(config.layers)]
    if config.backgrounds:
        background = to_pictures(scene.background[:n].cpu())[:, None]
        layers = np.concatenate([background, layers], axis=1)
        instances = np.vstack([to_rgb(BEHIND), instances])
        titles.insert(at, "background")
    plain = enlarge(np.stack(plain, axis=1))
    tiles = [with_border(plain, [1.0, 1.0, 1.0]), with_border(enlarge(layers), instances)]
    return show_tiles(np.concatenate(tiles, axis=1), titles, gap=2)


def sprites_of(snapshot: UInt8[np.ndarray, "K h w 4"]) -> Float[np.ndarray, "K 4 h w"]:
    """Return a run's snapshot as RGBA sprites in [0, 1]."""
    return snapshot.transpose(0, 3, 1, 2) / 255


def beside_prototypes(
    prototypes: Float[np.ndarray, "K 4 h w"], sprites: Float[Tensor, "K 4 h w"]
) -> Figure:
    """Draw the prototypes of DTI-Clustering, without their masks, above sprites and masks."""
    rows = {
        "DTI-Clustering": to_pictures(prototypes[:, :3]),
        "sprite": over_checkerboard(sprites, checks=DARK_CHECKS),
        "mask": to_pictures(sprites[:, 3:].expand(-1, 3, -1, -1)),
    }
    return show_tiles(enlarge(np.stack(list(rows.values()))), rows=list(rows))


def _moments(run: RunFolder, count: int, power: float) -> list[tuple[int, Pictures]]:
    """Return (step, sprites) of `count` snapshots, the denser at the start the higher `power`.

    Where sprites were given up, white takes their places.
    """
    snapshots = run.snapshots()
    if not snapshots:
        raise DtisError(f"{run.path}: has no snapshots of its sprites; train it again to get some")
    spaced = np.linspace(0, 1, count) ** power * (len(snapshots) - 1)
    chosen = [snapshots[index] for index in np.unique(spaced.round().astype(int))]
    most, height = (max(sprites.shape[axis] for _, sprites in chosen) for axis in (0, 1))
    moments = []
    for step, sprites in chosen:
        coarse = height // sprites.shape[1]  # while a run is coarse, its sprites are smaller
        full = sprites_of(sprites).repeat(coarse, axis=2).repeat(coarse, axis=3)
        tiles = enlarge(over_checkerboard(full, checks=DARK_CHECKS), 48)
        white = np.ones((most - len(tiles), *tiles.shape[1:]))
        moments.append((step, np.concatenate([tiles, white])))
    return moments


def evolution_strip(run: RunFolder, moments: int = 8) -> Figure:
    """Draw all sprites at `moments` moments of a run, one row each, from its snapshots.

    Most happens early, so moments are denser there. A single sprite's are side by side. Raises
    DtisError where there are no snapshots, or one is damaged.
    """
    steps, tiles = zip(*_moments(run, moments, power=1.5), strict=True)
    tiles, names = np.stack(tiles), [f"step {step}" for step in steps]
    if tiles.shape[1] == 1:
        return show_tiles(tiles.swapaxes(0, 1), columns=names, gap=2)
    return show_tiles(tiles, rows=names, gap=2)


def evolution_gif(run: RunFolder, path: Path, frames: int = 40, columns: int = 10) -> Path:
    """Write an animation of a run's sprites, with a bar of its progress below; return its path.

    Raises DtisError where there are no snapshots, one is damaged, or the file cannot be written.
    """
    moments = _moments(run, frames, power=1)
    pictures = []
    for step, tiles in moments:
        picture = mosaic(in_rows(tiles, columns), gap=4)
        bar = np.ones((10, picture.shape[1], 3))
        bar[-4:] = CHECKS[1]
        bar[-4:, : round(step / max(1, moments[-1][0]) * picture.shape[1])] = to_rgb(HUES[4])
        pixels = to_bytes(np.concatenate([picture, bar]))
        pictures.append(Image.fromarray(pixels).quantize(64, dither=Image.Dither.NONE))
    durations = [120] * (len(pictures) - 1) + [2500]  # milliseconds
    with replacing(path) as temporary:
        pictures[0].save(
            temporary, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0
        )
    return path


MANY = 5  # curves that have room beside their legend


def show_curves(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], x: str, y: str, log: bool = False
) -> Figure:
    """Draw named curves (xs, ys) with the axes' labels `x` and `y`, the latter's axis `log`."""
    with style():
        fig, axes = plt.subplots(figsize=(5.2, 3.0))
        for name, (xs, ys) in curves.items():
            axes.plot(xs, ys, label=name)
        axes.set(xlabel=x, ylabel=y, yscale="log" if log else "linear")
        if len(curves) > MANY:  # they would lie below it
            fig.legend(loc="outside right upper")
        elif len(curves) > 1:
            axes.legend()
    plt.close(fig)
    return fig


def show_losses(runs: Mapping[str, RunFolder]) -> Figure:
    """Draw the training loss of named runs against the step, from their metrics."""
    metrics = {name: run.metrics() for name, run in runs.items()}
    curves = {
        name: tuple([line[key] for line in lines] for key in ("step", "loss"))
        for name, lines in metrics.items()
    }
    return show_curves(curves, "training step", "loss, Eq. (5)", log=True)
