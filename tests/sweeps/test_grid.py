"""The grid of a sweep: seeds, choices of settings, and names that tell runs apart."""

import pytest

from dtis_core.config import load_preset
from dtis_core.errors import DtisError
from dtis_core.sweeps.grid import choices_of, grid, seeds_of


@pytest.mark.parametrize(
    ("text", "seeds"), [("0", [0]), ("0-2", [0, 1, 2]), ("3, 0-1,7", [3, 0, 1, 7])]
)
def test_seeds_are_numbers_and_ranges(text, seeds):
    assert seeds_of(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "a", "1-", "-1", "2-1", "0-99999", "0-9999,10000", "1,1", "0-2,2", "1.5"]
)
def test_other_seeds_are_refused(text):
    with pytest.raises(DtisError, match="--seeds"):
        seeds_of(text)


@pytest.mark.parametrize(
    ("assignment", "choices"),
    [
        ("model.sprites=10", ["model.sprites=10"]),
        ("model.sprites=10,13", ["model.sprites=10", "model.sprites=13"]),
        ("model.image_size=[20, 20]", ["model.image_size=[20, 20]"]),
        ("search.harmonics=[1, 2],[]", ["search.harmonics=[1, 2]", "search.harmonics=[]"]),
        ("data.path='a,b','c'", ["data.path='a,b'", "data.path='c'"]),
        ("training.curriculum={tps: 1, affine: 2}", ["training.curriculum={tps: 1, affine: 2}"]),
        ("nonsense", ["nonsense"]),
    ],
)
def test_commas_part_values_but_not_lists(assignment, choices):
    assert choices_of(assignment) == choices


def test_a_grid_is_every_preset_with_every_choice_and_seed():
    fixed = "training.batch_size=4"
    tasks = grid(["tetrominoes", "digits/fast"], [0, 3], ["model.sprites=4,5", fixed])
    assert [task.name for task in tasks] == [
        f"{preset}-fast-sprites-{k}-seed{seed}"
        for preset in ("tetrominoes", "digits")
        for k in (4, 5)
        for seed in (0, 3)
    ]
    config = load_preset("tetrominoes").override(["model.sprites=5", fixed])
    assert tasks[2].config == config and tasks[3].seed == 3


@pytest.mark.parametrize(
    ("presets", "assignments", "problem"),
    [
        (["tetromino"], [], "tetromino"),
        (["tetrominoes"], ["model.sprites=1,0"], "model.sprites"),
        (["tetrominoes"], ["nonsense"], "expected section.field=value"),
        (["tetrominoes", "tetrominoes/fast"], [], "two runs would have the name"),
        (["tetrominoes"], ["model.sprites=4,4"], "two runs would have the name"),
    ],
)
def test_grids_that_cannot_be(presets, assignments, problem):
    with pytest.raises(DtisError, match=problem):
        grid(presets, [0], assignments)
