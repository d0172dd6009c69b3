"""Scenes of the shipped models for the playground: one of each kind of data."""

from typing import NamedTuple

from dtis_core.datasets import load_for
from dtis_core.display.playground import PlayScene
from dtis_core.scenes.found import found_file, load_found
from dtis_core.scenes.run import load


class Played(NamedTuple):
    """Which image of a shipped run's split is played with, and what is said of it."""

    run: str
    title: str
    number: int
    note: str


PLAYED = (
    Played("tetrominoes", "Tetrominoes", 0, "Three pieces of 19 shapes on black: no background."),
    Played(
        "multi-dsprites", "Multi-dSprites", 31, "Squares, ellipses and hearts on a grey ground."
    ),
    Played("clevr6", "CLEVR6", 0, "Rendered solids; one sprite stands for each kind."),
    Played("gtsrb8", "Traffic signs", 1, "One sign on a learned background, bent to fit."),
    Played("weizmann", "Horses", 4, "One sprite for all horses, on one of four backgrounds."),
    Played("digits", "Digits", 7, "One of ten sprites, bent to fit a written digit."),
    Played("photos-postcards", "Postcards", 3, "Drawn postcards; each motif is a sprite."),
)


def played_scenes() -> list[PlayScene]:
    """Return the scenes of `PLAYED`, with their images where these may be passed on.

    Scenes of photographs and renders that no clone holds are drawn as `dtis keep` kept them, also
    where the images are at hand. Raises DtisError for a run that is not there or holds no such
    scene.
    """
    scenes = []
    for name, title, number, note in PLAYED:
        run = load(name)
        data, split = run.config.data.name, run.config.data.score_split
        if found_file(run, data, split).is_file():
            note += " Drawn from what the model found: its images are not ours to pass on."
            scene, image = load_found(run, data, split, [number]), None
        else:
            image = load_for(run.config, split, run.config.data.held_out).images[number]
            scene = run.decompose(image[None])
        scenes.append(PlayScene(title, note, scene, image))
    return scenes
