"""Every preset is complete, explains itself, builds its model and can take a step."""

import re

import numpy as np
import pytest

from dtis_core.config import PRESETS, SearchConfig, load_preset, preset_names
from dtis_core.datasets import DATASETS
from dtis_core.training.trainer import Trainer

# Sec. 4 and C.1-C.2: K, K', L, sprite size, deviation of masks, the three sequences, batch.
PAPER = {
    "tetrominoes": (19, 0, 3, 24, 5, "col pos", "", "", 32),
    "multi-dsprites": (3, 1, 5, 28, 7, "col pos", "sim", "col", 32),
    "clevr6": (6, 1, 6, 40, 10, "col pos", "pro", "col", 32),
    "gtsrb8": (8, 1, 1, 28, 5, "", "col pro tps", "col pro tps", 128),
    "svhn": (10, 1, 1, 28, 8, "", "col pro tps", "col pro tps", 128),
    "weizmann": (1, 1, 1, 128, 20, "", "col pro tps", "col pro tps", 32),
    "photos": (40, 1, 1, 128, 20, "", "col pro", "col pro", 32),
}


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_names_itself_its_data_and_its_reasons(name):
    config = load_preset(name)
    assert config.preset == name and config.description
    assert config.data.name in DATASETS
    assert (PRESETS / f"{name}.yaml").read_text().startswith("# ")


@pytest.mark.parametrize("dataset", [*sorted(PAPER), "multi-dsprites2"])
def test_each_setting_that_a_fast_preset_changes_says_why(dataset):
    paper = load_preset(f"{dataset}/paper").to_dict()
    fast = load_preset(f"{dataset}/fast").to_dict()
    section, silent, lines = "", [], (PRESETS / dataset / "fast.yaml").read_text().splitlines()
    for line in lines:
        indent, name, _ = re.match(r"( *)(\w*)(.*)", line).groups()
        if name and not indent:
            section = name
        elif name and paper[section][name] != fast[section][name] and "#" not in line:
            silent.append(name)
    assert any("#" in line for line in lines[1:]) and not silent


@pytest.mark.parametrize("dataset", PAPER)
def test_paper_presets_are_the_papers(dataset):
    config = load_preset(f"{dataset}/paper")
    model = config.model
    sequences = [
        " ".join(name[:3] for name in getattr(model, f"{part}_transformations"))
        for part in ("layer", "sprite", "background")
    ]
    found = (model.sprites, model.backgrounds, model.layers, model.sprite_size[0])
    assert (*found, model.mask_sigma, *sequences, config.training.batch_size) == PAPER[dataset]
    small = max(model.image_size) <= 64
    assert model.encoder == ("resnet32" if small else "resnet18")
    assert config.search == SearchConfig()  # nothing of ours
    assert model.pool == ((4 if small else 2) if model.layers > 3 else 1)
    several = model.layers > 1
    assert config.training.network_rate == (1e-4 if several else 1e-3)
    overlapping = dataset in ("multi-dsprites", "clevr6")
    assert model.empty_sprite == (model.occlusion == "predicted") == overlapping


@pytest.mark.parametrize(
    ("dataset", "encoder", "every"),
    [
        ("tetrominoes", 1, 50), ("multi-dsprites", 7, 100), ("multi-dsprites2", 4, 100),
        ("clevr6", 8, 250), ("gtsrb8", 2, 25), ("weizmann", 2, 300),
    ],
)  # fmt: skip
def test_paper_presets_take_what_made_the_numbers_where_the_text_is_silent(dataset, encoder, every):
    config = load_preset(f"{dataset}/paper")
    training = config.training
    rate = training.encoder_rate or training.network_rate
    assert rate == pytest.approx(encoder * training.network_rate)
    assert training.reassign_every == every
    assert training.unit == "epoch"  # whose last batch counts
    assert training.empty_from == (training.frozen if config.model.empty_sprite else 0)
    assert training.freeze == "sprites" or not training.frozen
    grey = dataset.startswith("multi-dsprites")
    assert config.model.background_colour == (0.5 if grey else None)


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_can_train(name):
    config = load_preset(name).override(["training.batch_size=2", "training.reassign_every=1"])
    if config.model.empty_sprite:  # which an untrained model would take throughout, in noise
        config = config.override([f"training.empty_from={config.training.length}"])
    size = (*config.model.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, (4, *size), dtype=np.uint8)
    run = Trainer(config, images, seed=0)
    run.step = run.in_steps(max(config.training.coarse_until, config.training.retire_until))
    if config.training.coarse_until:
        run._refine()
    run.step = max(run.step, run.length - 3)
    before = [p.detach().clone() for p in run.model.predictor.parameters()]
    assert np.isfinite(run.train_step())
    assert run.sprites == config.model.sprites
    after = run.model.predictor.parameters()
    assert any((a != b).any() for a, b in zip(after, before, strict=True))
