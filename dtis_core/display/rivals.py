"""A rival's scores against the minutes that it trained, beside ours."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from dtis_core.baselines.comparison import MINUTE, SCENE_SCORES, Race
from dtis_core.display.figures import GREY, HUES, style
from dtis_core.scoring.results import own_scores

LINES = dict(zip(SCENE_SCORES, ("-", ":"), strict=True))
MARKS = dict(zip(SCENE_SCORES, ("o", "x"), strict=True))
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)  # minutes
RIVAL, OURS = HUES[5], HUES[4]


def show_races(races: Sequence[Race]) -> Figure:
    """Draw scores in percent against minutes of one core, one panel for each data set."""
    with style():
        fig, panels = plt.subplots(1, len(races), figsize=(8.6, 3.2), sharey=True, squeeze=False)
        for race, axes in zip(races, panels[0], strict=True):
            _draw(race, axes)
        panels[0, 0].set(ylabel="percent", ylim=(-10, 104))
        panels[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    plt.close(fig)
    return fig


def _draw(race: Race, axes: Axes) -> None:
    for name, line in LINES.items():
        for rival in race.rivals:
            curve = rival.curve()
            minutes = [point["cpu_seconds"] / MINUTE for point in curve]
            scores = [100 * point[name] for point in curve]
            axes.plot(minutes, scores, line, color=RIVAL, label=f"Slot Attention, {name}")
    for name in LINES:
        minutes = [folder.manifest()["wall_seconds"] / MINUTE for folder in race.ours]
        scores = [100 * own_scores(folder)[name] for folder in race.ours]
        axes.plot(minutes, scores, MARKS[name], color=OURS, label=f"ours, {name}")
    label = "Slot Attention, published\nARI-FG: 500,000 steps, GPU"
    published = float(race.published.split(" ")[0])
    axes.axhline(published, color=GREY, linestyle="--", label=label)
    axes.set(title=race.title, xlabel="minutes of one core", xscale="log")
    shown = axes.get_xlim()
    axes.set(xticks=TICKS, xlim=shown)
    axes.xaxis.set(major_formatter="{x:g}", minor_locator=NullLocator())
