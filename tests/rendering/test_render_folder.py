"""A folder of rendered scenes: the same by any number of processes, and after a kill."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dtis_core import datasets
from dtis_core.cli import main
from dtis_core.errors import DtisError
from dtis_core.paths import CLONE, SAMPLES
from dtis_core.rendering import folder
from dtis_core.rendering.folder import render_folder, render_scene
from dtis_core.rendering.order import Order, numbers_of
from dtis_core.rendering.sampling import sample

COUNTS = {"train": 3, "validation": 2, "final": 1}


def order(size=64, **changes):
    return Order(**{"counts": COUNTS, "size": size} | changes)


def render(out, jobs=1, **changes):
    render_folder(order(**changes), out, jobs, "fake_renderer")
    return out


def contents(out):
    files = [file for file in out.rglob("*") if file.is_file()]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    return render(tmp_path_factory.mktemp("rendered") / "clevr6_rendered")


def test_images_masks_and_listing_agree(rendered):
    listing = json.loads((rendered / "scenes.json").read_text())
    assert listing["splits"] == COUNTS and len(listing["scenes"]) == 6
    assert listing["made"]["seed"] == 0 and listing["renderers"] == ["blocks"]
    for scene in listing["scenes"]:
        with Image.open(rendered / scene["image"]) as image:
            told = json.loads(image.info["dtis"])
            assert image.size == (64, 64)
        assert told["made"] == listing["made"] and told["objects"] == scene["objects"]
        mask = np.asarray(Image.open(rendered / scene["mask"]))
        assert set(np.unique(mask)) == set(range(len(scene["objects"]) + 1))
        for thing in scene["objects"]:
            named = listing["categories"][str(thing["category"])]
            assert named == f"{thing['shape']}-{thing['material']}"


def test_any_number_of_processes_makes_the_same_files(rendered, tmp_path):
    assert contents(render(tmp_path / "two", jobs=2)) == contents(rendered)


def test_scenes_do_not_depend_on_how_many_there_are(rendered, tmp_path):
    fewer = contents(render(tmp_path, counts={"train": 1, "validation": 2}))
    whole = contents(rendered)
    assert {name for name in fewer if fewer[name] != whole[name]} == {"scenes.json"}


def test_more_scenes_are_added_and_those_there_are_kept(tmp_path):
    render(tmp_path, counts={"train": 2})
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.png")}
    render(tmp_path, counts={"train": 3, "final": 1})
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert len(list(tmp_path.glob("images/*.png"))) == 4


def test_splits_scenes_and_seeds_are_independent(rendered, tmp_path):
    other = render(tmp_path, seed=1)
    images = [file.read_bytes() for out in (rendered, other) for file in out.glob("images/*.png")]
    assert len(images) == len(set(images)) == 12


def test_after_a_death_the_same_command_goes_on(rendered, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_DIES_WITH", f"2 {tmp_path / 'images'}")
    with pytest.raises(DtisError, match="was ended, perhaps for want of memory; the same command"):
        render(tmp_path)
    done = contents(tmp_path)
    assert len([name for name in done if name.startswith("images/")]) == 2
    assert len([name for name in done if name.startswith("masks/")]) == 3  # one without its image
    assert "scenes.json" not in done
    monkeypatch.delenv("FAKE_DIES_WITH")
    (tmp_path / "images" / ".train-00002.png.abcdefgh.png").write_bytes(b"half")
    assert contents(render(tmp_path)) == contents(rendered)


def test_a_damaged_image_is_drawn_again(rendered, tmp_path):
    render(tmp_path)
    image = tmp_path / "images" / "train-00001.png"
    image.write_bytes(image.read_bytes()[:-40])
    assert contents(render(tmp_path)) == contents(rendered)


ORPHAN = """
import multiprocessing, os, time
from pathlib import Path
from dtis_core.rendering.folder import _begin
def child():
    _begin()
    Path("child").touch()
    time.sleep(100)
if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=child).start()
    while not Path("child").exists():
        time.sleep(0.01)
    os.kill(os.getpid(), 9)
"""


def test_processes_end_with_the_one_that_started_them_even_if_it_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(ORPHAN)
    ended = subprocess.run(  # until nobody holds the pipe any more
        [sys.executable, "parent.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(CLONE)},
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert ended.returncode == -9


def test_a_folder_of_other_scenes_is_left_alone(tmp_path):
    render(tmp_path, counts={"train": 1})
    before = contents(tmp_path)
    with pytest.raises(DtisError, match="scenes.json: lists scenes that were made otherwise"):
        render(tmp_path, seed=1)
    (tmp_path / "scenes.json").unlink()
    with pytest.raises(DtisError, match="train-00000.png: was made otherwise.*another folder"):
        render(tmp_path, seed=1)
    before.pop("scenes.json")
    assert contents(tmp_path) == before


def test_scenes_that_hide_an_object_are_drawn_again(tmp_path, monkeypatch):
    size = 128  # of whose pixels 32 are the least
    monkeypatch.setenv("FAKE_HIDES", "red")
    for number in range(20):
        record = render_scene(order(size), tmp_path, ("train", number), "fake_renderer")
        assert "red" not in [thing["color"] for thing in record["objects"]]
    monkeypatch.setattr(folder, "FEWEST_PIXELS", 1.0)
    monkeypatch.setattr(folder, "TRIES", 3)
    with pytest.raises(DtisError, match="no scene of 3 shows all of them in 3 tries; ask for"):
        render_scene(order(objects=(3, 3)), tmp_path, ("train", 0), "fake_renderer")


def test_numbers_of_objects_are_those_asked_for(tmp_path):
    records = [
        render_scene(order(128, objects=(4, 6)), tmp_path, ("train", i), "fake_renderer")
        for i in range(30)
    ]
    assert {len(record["objects"]) for record in records} == {4, 5, 6}


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"counts": {"train": -1}}, "--train"),
        ({"counts": {"train": 0}}, "--train"),
        ({"seed": -1}, "--seed"),
        ({"objects": (0, 3)}, "--objects"),
        ({"objects": (4, 3)}, "--objects"),
        ({"objects": (3, 11)}, "--objects"),
        ({"size": 8}, "--size"),
    ],
)
def test_what_is_out_of_range_is_named(changes, option):
    with pytest.raises(DtisError, match=f"^{option}.*: give "):
        order(**changes)


@pytest.mark.parametrize("text", ["", "3", "3-", "a-b", "3-4-5", "-1-3"])
def test_a_range_is_two_numbers(text):
    with pytest.raises(DtisError, match="as in 3-6"):
        numbers_of(text)
    assert numbers_of("3-10") == (3, 10)


def test_without_blender_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "bpy" else find(name)
    )
    out = tmp_path / "out"
    assert main(["render", "clevr", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "pip install 'dtis[render]'" in said
    assert not out.exists()


def test_the_three_streams_are_loaded(rendered):
    sets = {
        split: datasets.load("clevr6-rendered", split, root=rendered.parent, size=(64, 64))
        for split in (*COUNTS, "all")
    }
    assert {split: len(data) for split, data in sets.items()} == COUNTS | {"all": 6}
    joined = np.concatenate([sets[split].images for split in COUNTS])
    assert np.array_equal(joined, sets["all"].images)
    listing = json.loads((rendered / "scenes.json").read_text())
    first = [thing["category"] for thing in listing["scenes"][3]["objects"]]
    assert sets["validation"].categories[0].tolist()[: len(first)] == first
    itself = datasets.load("clevr6-rendered", "final", root=rendered, size=(64, 64))
    assert itself.fingerprint == sets["final"].fingerprint


def test_splits_that_do_not_add_up_or_are_empty_are_refused(tmp_path):
    render(tmp_path, counts={"validation": 2})
    with pytest.raises(DtisError, match="scenes.json: has no scene of the split 'train'"):
        datasets.load("clevr6-rendered", "train", root=tmp_path)
    path = tmp_path / "scenes.json"
    whole = json.loads(path.read_text())
    for splits, problem in (
        ({"train": 2, "validation": 2, "final": 0}, "not its 2 scenes"),
        ({"train": -1, "validation": 2, "final": 1}, "not its 2 scenes"),
        ({"train": 2}, "lacks the field 'validation'"),
        ([2], "splits: expected an object"),
    ):
        path.write_text(json.dumps(whole | {"splits": splits}))
        with pytest.raises(DtisError, match=problem):
            datasets.load("clevr6-rendered", "validation", root=tmp_path)


def test_the_shipped_samples_are_scenes_of_this_code():
    data = datasets.load("clevr6-rendered", "validation", root=SAMPLES / "clevr")
    listing = json.loads((SAMPLES / "clevr" / "scenes.json").read_text())
    default = Order({"validation": 24})
    assert len(data) == 24 and listing["made"] == default.made
    for number, scene in enumerate(listing["scenes"]):
        objects = [(thing["color"], thing["x"], thing["y"]) for thing in scene["objects"]]
        shown = np.bincount(data.masks[number].ravel())
        assert len(shown) == len(objects) + 1 and shown.min() >= 32
        rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(1, number)))
        count = rng.integers(3, 6, endpoint=True)
        drawn = [sample(rng, int(count)).solids for _ in range(30)]  # those not shown among them
        places = [[(s.colour, round(s.x, 4), round(s.y, 4)) for s in solids] for solids in drawn]
        assert objects in places
