"""Scenes of the shipped models for the playground: one of each kind of data."""

from typing import NamedTuple

from dtis_core.datasets import load_for
from dtis_core.display.playground import PlayScene
from dtis_core.scenes.found import found_file, load_found
from dtis_core.scenes.run import load


class Played(NamedTuple):
    """Which image of a shipped run's split is played with, what is said of it, and where more is.

    `notebook` is the one about these data.
    """

    run: str
    title: str
    number: int
    notebook: str
    note: str


PLAYED = (
    Played(
        "tetrominoes", "Tetrominoes", 0, "11_tetrominoes",
        "Three pieces of 19 shapes on black: no background.",
    ),
    Played(
        "multi-dsprites", "Multi-dSprites", 31, "12_benchmarks",
        "Squares, ellipses and hearts on a grey ground.",
    ),
    Played(
        "clevr6", "CLEVR6", 0, "12_benchmarks",
        "Rendered solids; one sprite stands for each kind.",
    ),
    Played(
        "gtsrb8", "Traffic signs", 1, "15_clustering",
        "One sign on a learned background, bent to fit.",
    ),
    Played(
        "weizmann", "Horses", 4, "16_cosegmentation",
        "One sprite for all horses, on one of four backgrounds.",
    ),
    Played(
        "digits", "Digits", 7, "15_clustering", "One of ten sprites, bent to fit a written digit."
    ),
    Played(
        "photos-postcards", "Postcards", 3, "17_web_photos",
        "Drawn postcards; each motif is a sprite.",
    ),
)  # fmt: skip


def _page(notebook: str) -> str:
    """Return a notebook's page, as the playground beside the index leads to it."""
    return f"notebooks/{notebook}.html"


WHY = (
    (
        "An object is a sprite that is moved, turned, bent and coloured: transformations",
        _page("04_transformations"),
    ),
    ("Nearer layers hide farther ones, pair by pair: composition", _page("03_composition")),
    (
        "How the sprites in this picture were chosen: greedy selection",
        _page("06_greedy_selection"),
    ),
)
"""What explains every scene: words and pages."""

FURTHER = (
    ("Quickstart: load, decompose, edit, and watch sprites sharpen", _page("00_quickstart")),
    ("Overview: a scene, its layers, and how they are found", _page("01_overview")),
    ("All notebooks and their figures", "index.html"),
)
"""Where to go on from the playground, in this order."""


def played_scenes() -> list[PlayScene]:
    """Return the scenes of `PLAYED`, with their images where these may be passed on.

    Scenes of photographs and renders that no clone holds are drawn as `dtis keep` kept them, also
    where the images are at hand. Raises DtisError for a run that is not there or holds no such
    scene.
    """
    scenes = []
    for name, title, number, notebook, note in PLAYED:
        run = load(name)
        data, split = run.config.data.name, run.config.data.score_split
        if found_file(run, data, split).is_file():
            note += " Drawn from what the model found: its images are not ours to pass on."
            scene, image = load_found(run, data, split, [number]), None
        else:
            image = load_for(run.config, split, run.config.data.held_out).images[number]
            scene = run.decompose(image[None])
        data_page = f"{title}: the data, the learned sprites, the scores", _page(notebook)
        scenes.append(PlayScene(title, note, scene, image, (*WHY, data_page)))
    return scenes
