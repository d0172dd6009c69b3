"""What is damaged, and what then has to give a result or a DtisError: one function for each area.

Each takes a `Place` and returns what the case was, for people; `AREAS` says how often it is drawn.
"""

from functools import cache

from data_areas import asked, cached, images, matrices, records
from mutations import as_text, damage_file, damaged_json
from run_areas import commands, config_file, run_commands, run_records, run_use, settings, training
from values import assignments
from world import IMAGE, Failed, Place, found

from dtis_core.scenes.scene import Scene
from dtis_core.scenes.scene_json import load_scene
from dtis_core.workbook.index import index_html
from dtis_core.workbook.manifest import read_manifest
from dtis_core.workbook.notebook import read_notebooks
from dtis_core.workbook.runner import parse_assignments


@cache
def unedited(base) -> Scene:
    """Return what the run found in an image."""
    return found(base)


def scene_json(place: Place) -> str:
    """Open a damaged edited scene, and draw it."""
    path = place.copy("scene.json")
    damage_file(place.rng, path, as_text(damaged_json))
    with place.nothing_lost():
        scene = load_scene(path, [unedited(place.base)], IMAGE[None])[1]
    if not scene.reconstruction.isfinite().all():
        raise Failed("a scene of numbers that are not finite")
    return "scene"


def notebooks(place: Place) -> str:
    """Read a damaged notebook with strange parameters."""
    path = place.copy("01_first.ipynb")
    damage_file(place.rng, path, as_text(damaged_json))
    given = assignments(place.rng, ["steps", "profile", "no_such"])
    given = given if place.rng.random() < 0.3 else []
    with place.nothing_lost():
        read_notebooks([path], parse_assignments(given))
    return f"notebook {given}"


def figures_manifest(place: Place) -> str:
    """Read the damaged records of a folder of figures, and make a page of them."""
    path = place.copy("manifest.json")
    damage_file(place.rng, path, as_text(damaged_json))
    with place.nothing_lost():
        page = index_html(read_manifest(path))
    if "<b>&amp;</b>" in page:
        raise Failed("a text became markup")
    return "manifest"


AREAS = {
    config_file: 12,
    settings: 18,
    training: 1,
    run_records: 10,
    run_use: 5,
    run_commands: 3,
    commands: 6,
    images: 10,
    asked: 6,
    records: 10,
    matrices: 0.4,
    cached: 3,
    scene_json: 10,
    notebooks: 7,
    figures_manifest: 5,
}
"""How often each area is drawn, in comparison with the others."""
