"""A rival's scores against the minutes that it trained, beside ours."""

from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from dtis_core.baselines.comparison import MINUTE, SCENE_SCORES, Race, label, minutes_of
from dtis_core.baselines.slot_trainer import Pixels, explain, load_slots
from dtis_core.display.figures import (
    GREY,
    HUES,
    enlarge,
    label_colours,
    palette,
    show_tiles,
    style,
)
from dtis_core.pictures import to_pictures
from dtis_core.scoring.results import own_scores

LINES = dict(zip(SCENE_SCORES, ("-", ":"), strict=True))
MARKS = dict(zip(SCENE_SCORES, ("o", "x"), strict=True))
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)  # minutes
RIVALS, OURS = (HUES[5], HUES[0], HUES[3]), HUES[4]


def show_races(races: Sequence[Race]) -> Figure:
    """Draw scores in percent against minutes of one core, one panel for each data set."""
    with style():
        fig, panels = plt.subplots(1, len(races), figsize=(8.6, 3.2), sharey=True, squeeze=False)
        for race, axes in zip(races, panels[0], strict=True):
            _draw(race, axes)
        panels[0, 0].set(ylabel="percent", ylim=(-14, 104))
        named = [axes.get_legend_handles_labels() for axes in panels[0]]
        lines = {label: line for pair in named for line, label in zip(*pair, strict=True)}
        place = {"loc": "upper left", "bbox_to_anchor": (1, 1)}
        title = "Slot Attention, and ours"
        panels[0, -1].legend(lines.values(), lines, title=title, **place)
    plt.close(fig)
    return fig


def _draw(race: Race, axes: Axes) -> None:
    for name, line in LINES.items():
        for rival, colour in zip(race.rivals, cycle(RIVALS), strict=False):
            curve = rival.curve()
            minutes = [minutes_of(point) for point in curve]
            scores = [100 * point[name] for point in curve]
            axes.plot(minutes, scores, line, color=colour, label=f"{name}, {label(rival)}")
    for name in LINES:
        minutes = [folder.manifest()["wall_seconds"] / MINUTE for folder in race.ours]
        scores = [100 * own_scores(folder)[name] for folder in race.ours]
        axes.plot(minutes, scores, MARKS[name], color=OURS, label=f"ours, {name}")
    published = float(race.published.split(" ")[0])
    axes.axhline(published, color=GREY, linestyle="--", label="published, on a GPU")
    axes.set(title=race.title, xlabel="minutes of one core", xscale="log")
    shown = axes.get_xlim()
    axes.set(xticks=TICKS, xlim=shown)
    axes.xaxis.set(major_formatter="{x:g}", minor_locator=NullLocator())


def show_slots(race: Race, images: Pixels) -> Figure:
    """Draw images (rows), and what each rival makes of them: its reconstruction, and its slots."""
    columns, tiles = ["input"], [to_pictures(images)]
    for rival in race.rivals:
        rebuilt, slots = explain(load_slots(rival), images)
        tiles += [to_pictures(rebuilt), label_colours(slots + 1, palette(int(slots.max()) + 1))]
        columns += [f"seed {rival.manifest()['seed']}", "slots"]
    return show_tiles(enlarge(np.stack(tiles, axis=1)), columns)
