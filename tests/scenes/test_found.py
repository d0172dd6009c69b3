"""Found scenes, kept as parameters, are drawn again without the images, and just the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from kinds import IMAGES, only

from dtis_core.errors import DtisError
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.found import found_file, load_facts, load_found, save_found
from dtis_core.storage.weights import read_tensors, write_tensors

FACTS = {"accuracy": np.array([0.5, 0.75, 1.0])}  # of more images than there are scenes


@pytest.fixture
def kept(run, tmp_path):
    """A run whose folder holds the scenes of two images."""
    kept = replace(run, folder=RunFolder(tmp_path))
    save_found(found_file(kept, "pieces", "all"), run.decompose(IMAGES), FACTS)
    return kept


def test_scenes_are_drawn_again_as_they_were_found(run, kept):
    found, again = run.decompose(IMAGES[::-1]), load_found(kept, "pieces", "all", [1, 0])
    for part in ("reconstruction", "layers", "alphas", "background", "sprite_index", "occlusion"):
        assert torch.allclose(getattr(again, part), getattr(found, part), atol=1e-6), part
    assert torch.equal(again.instance_map, found.instance_map)


@only("multi-dsprites")
def test_facts_of_all_images_come_beside_them(kept):
    facts = load_facts(kept, "pieces", "all")
    assert facts.keys() == FACTS.keys() and np.array_equal(facts["accuracy"], FACTS["accuracy"])


@only("multi-dsprites")
@pytest.mark.parametrize("numbers", [[2], [-1], []])
def test_images_that_were_not_kept_are_refused(kept, numbers):
    with pytest.raises(DtisError, match=r"has the images 0\.\.1, not \["):
        load_found(kept, "pieces", "all", numbers)


@only("multi-dsprites")
def test_without_a_file_the_command_that_makes_it_is_named(kept):
    with pytest.raises(DtisError, match=r"no scenes were kept; dtis keep .* makes it"):
        load_found(kept, "pieces", "validation", [0])


@only("multi-dsprites")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda kept: kept.pop("layer"), "lacks tensor 'layer'"),
        (lambda kept: kept.update(more=torch.zeros(1)), "has the unknown tensor 'more'"),
        (lambda kept: kept.update(layer=kept["layer"][:1]), "'layer' has shape"),
        (lambda kept: kept["layer"].fill_(torch.nan), "'layer' holds nan or infinity"),
        (lambda kept: kept["sprites"].fill_(9), "'sprites' holds more than 4"),
        (lambda kept: kept["backdrop"].fill_(1), "'backdrop' holds more than 0"),
    ],
)
def test_a_damaged_file_is_refused(kept, change, message):
    path = found_file(kept, "pieces", "all")
    tensors, metadata = read_tensors(path)
    change(tensors)
    write_tensors(path, tensors, metadata)
    with pytest.raises(DtisError, match=message):
        load_found(kept, "pieces", "all", [0])


@only("multi-dsprites")
def test_scenes_of_other_weights_are_refused(kept):
    with torch.no_grad():
        kept.model.sprites.appearances.mul_(0.5)
    for read in (load_facts, lambda *kept: load_found(*kept, [0])):
        with pytest.raises(DtisError, match="kept by other weights; run dtis keep again"):
            read(kept, "pieces", "all")
