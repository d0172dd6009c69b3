"""Rules that hold several settings together; the range of each stands beside it."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dtis_core.errors import DtisError

if TYPE_CHECKING:
    from dtis_core.config.settings import Config

MOST_VALUES = 2**33  # of one array: 32 GiB in single precision
PLACED = {"placement", "wide_placement", "translation"}
TURNS_BACK = {"tint", "colour", "position", "similarity", "rotation"} | PLACED
"""Transformations whose scenes can be turned by quarters."""


def check_rules(config: "Config", where: str) -> None:
    """Raise DtisError, naming a field, for settings that do not go together."""
    for rules in (_search_rules, _model_rules, _training_rules):
        for holds, name, wanted in rules(config):
            if not holds:
                section, field = name.split(".")[:2]
                found = getattr(getattr(config, section), field)
                found = list(found) if isinstance(found, tuple) else found
                raise DtisError(f"{where}: {name} must be {wanted}, found {found}")
    _check_memory(config, where)


Rules = Iterator[tuple[bool, str, str]]
"""Whether each rule holds, the field that it is about, and what that must be."""


def _model_rules(config: "Config") -> Rules:
    model = config.model
    noisy = model.mask_binarity == "noise" or not model.opaque_sprites
    yield noisy, "model.mask_binarity", "noise where sprites are opaque"


def _search_rules(config: "Config") -> Rules:
    model, search = config.model, config.search
    residual, greedy = search.looks == "residual", model.selection == "greedy"
    jointly = not residual or (search.depths == "sought" and model.layers == 2)
    rule = "greedy where search.looks is residual, but for two layers whose depths are sought"
    yield greedy or jointly, "model.selection", rule
    yield residual or search.sees == "both", "search.sees", "both unless search.looks is residual"
    if search.drawn_by == "error":
        rule = "features without residual looks and attention"
        yield residual and search.head == "attention", "search.drawn_by", rule
    if search.depths == "sought":
        yield residual, "search.looks", "residual where search.depths is sought"
        yield model.occlusion == "fixed", "model.occlusion", "fixed where search.depths is sought"
    if search.colours == "solved":
        tints = residual and not search.fovea and "tint" in model.layer_transformations
        rule = "predicted without residual looks and a layer's tint, and with a fovea"
        yield tints, "search.colours", rule
    turns = {"similarity", "rotation"}.intersection(model.sprite_transformations)
    for name in ("turns", "inference_turns"):
        rule = "1 without similarity or rotation in model.sprite_transformations"
        yield bool(turns) or getattr(search, name) in (None, 1), f"search.{name}", rule
    if search.fovea:
        placed = PLACED.intersection(model.layer_transformations)
        attends = residual and search.head == "attention" and bool(placed)
        rule = "false without residual looks, attention and a layer's placement or translation"
        yield attends, "search.fovea", rule
    rule = "empty without search.fovea, similarity or rotation"
    yield not search.harmonics or (search.fovea and bool(turns)), "search.harmonics", rule
    names = {*model.layer_transformations, *model.sprite_transformations}
    turnable = bool(turns) and names <= TURNS_BACK
    turnable &= set(model.background_transformations) <= {"tint", "colour"}
    turnable &= len({*model.image_size}) == len({*model.sprite_size}) == 1
    rule = (
        "1 unless images and sprites are square, and are placed, turned by similarity or rotation "
        "in model.sprite_transformations, and coloured only"
    )
    yield search.views == 1 or turnable, "search.views", rule


def _training_rules(config: "Config") -> Rules:
    model, training = config.model, config.training
    sides = (*model.image_size, *model.sprite_size)
    for name, part in (("coarse_until", 2), ("quarter_until", 4)):
        divisible = all(side % part == 0 for side in sides)
        rule = f"0 where an image or sprite side is not a multiple of {part}"
        yield divisible or not getattr(training, name), f"training.{name}", rule
    ordered = training.quarter_until <= training.coarse_until
    yield ordered, "training.quarter_until", "at most training.coarse_until"
    if training.extra_sprites:
        greedy = model.selection == "greedy"
        yield greedy, "model.selection", "greedy where there are extra sprites"
        ordered = training.retire_from <= training.retire_until < training.length
        rule = "from training.retire_from to before training.length"
        yield ordered, "training.retire_until", rule
    known = {*model.layer_transformations, *model.sprite_transformations,
             *model.background_transformations}  # fmt: skip
    for name in training.curriculum:
        rule = f"of transformations that the model has, not {name}"
        yield name in known, "training.curriculum", rule


def _check_memory(config: "Config", where: str) -> None:
    """Raise DtisError where one of the largest arrays is larger than any machine should hold."""
    model, search, training, data = config.model, config.search, config.training, config.data
    sprites, pixels = "model.sprites + training.extra_sprites", "model.image_size x model.channels"
    factors = {
        "data.count": data.count or 0,
        "data.held_out": data.held_out or 0,
        "training.batch_size": training.batch_size,
        sprites: model.sprites + training.extra_sprites,
        pixels: math.prod(model.image_size) * (model.channels + 1),
        "model.sprite_size": math.prod(model.sprite_size) * (model.channels + 1),
        "model.layers": model.layers,
        "model.backgrounds": model.backgrounds,
        "search.turns": search.turns,
        "search.inference_turns": search.inference_turns or 1,
        "model.pool": model.pool**2 * 2**16,  # by a network's features and hidden units
    }
    arrays = [
        ("data.count", pixels),
        ("data.held_out", pixels),
        (sprites, "model.sprite_size"),
        ("model.layers", "model.pool"),
        ("training.batch_size", "model.layers", pixels),
        ("training.batch_size", "model.backgrounds", pixels),
        ("training.batch_size", sprites, "search.turns", pixels),
        ("training.batch_size", sprites, "search.inference_turns", pixels),
    ]
    for array in arrays:
        size = math.prod(factors[name] for name in array)
        if size > MOST_VALUES:
            raise DtisError(
                f"{where}: {' x '.join(array)} asks for an array of {size:.0e} values, but "
                f"{MOST_VALUES:.0e} are the most; lower one of them"
            )
