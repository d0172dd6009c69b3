"""Settings: three dataclasses, presets as YAML files, overrides, and errors that name the field."""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from dtis_core.errors import DtisError, suggest
from dtis_core.paths import PACKAGE

PRESETS = PACKAGE / "presets"
DEFAULT_FAMILY = "fast"


@dataclass(frozen=True)
class DataConfig:
    """What to train on, and what to hold out."""

    name: str
    path: str | None = None  # the folder of a data set that is anyone's own
    count: int | None = None  # training images; None: all there are
    held_out: int | None = 320  # images to score at most; None: all of the split
    train_split: str = "train"
    score_split: str = "test"


@dataclass(frozen=True)
class ModelConfig:
    """The image model and its predictor (Sec. 3.1 and 3.3)."""

    image_size: tuple[int, int]
    layers: int  # L
    sprites: int  # K
    sprite_size: tuple[int, int]
    mask_sigma: float  # pixels; deviation of the Gaussian that masks start from
    sprite_colour: float = 0.9  # all channels' start, in [0, 1]
    layer_transformations: list[str] = field(default_factory=list)  # T^lay, shared in a layer
    sprite_transformations: list[str] = field(default_factory=list)  # T^spr, one per sprite
    background_transformations: list[str] = field(default_factory=list)  # T^bkg
    backgrounds: int = 0  # K'
    channels: int = 3  # C
    empty_sprite: bool = False
    opaque_sprites: bool = False  # no masks, as in DTI-Clustering
    occlusion: typing.Literal["fixed", "predicted", "sought"] = "fixed"
    penalty: float = 0.0  # lambda of Eq. (5), for an error averaged over pixels and channels
    mask_binarity: typing.Literal["noise", "beta", "concrete"] = "noise"  # what makes masks binary
    mask_noise: float = 0.4  # amplitude, where that is noise; 0 trains without
    mask_beta: float = 1.0  # weight of x^2 (1 - x)^2 in Eq. (5), where it is beta
    mask_temperature: tuple[float, float] = (2.0, 0.5)  # first and last, where it is concrete
    turns: int = 1  # rotations that selection tries for each sprite, on top of the predicted one
    selection: typing.Literal["greedy", "exhaustive"] = "greedy"
    selection_steps: int = 1  # T of Algorithm 1
    inference_steps: int = 1  # T at inference
    inference_turns: int | None = None  # turns at inference; None: as in training
    polish_steps: int = 0  # gradient steps on a found scene's parameters, at inference
    views: int = 1  # quarter turns of an image in which its scene is sought, at inference
    alternate_steps: bool = False  # train with T = 1, ..., selection_steps in turn
    encoder: typing.Literal["resnet32", "resnet18", "small"] = "resnet32"
    head: typing.Literal["pooled", "attention"] = "pooled"
    pool: int = 1  # side of the pooled feature map
    reach: int = 3  # cells around an attention map's peak that count
    looks: typing.Literal["image", "residual"] = "image"


@dataclass(frozen=True)
class TrainingConfig:
    """The schedule. All durations are in `unit`s; rates are Adam's."""

    length: float
    unit: typing.Literal["epoch", "step"]
    batch_size: int
    network_rate: float
    appearance_rate: float
    mask_rate: float
    weight_decay: float = 1e-6  # networks only
    second_moment: float = 0.999  # Adam's beta_2
    warm_up: float = 0  # rates rise linearly from 0
    frozen: float = 0  # sprites do not learn yet
    decay_at: list[float] = field(default_factory=list)  # rates times 0.1 there
    appearance_late_rate: float | None = None  # the appearances' rate from `appearance_late` on
    appearance_late: float = 0
    cosine_from: float | None = None  # rates fall to 0 along a half cosine from there to the end
    decay_sprites: bool = True  # False: the sprites' rates stay
    curriculum: dict[str, float] = field(default_factory=dict)  # transformation: when it joins
    reassign_below: float = 20  # percent / K of layers; sprites used less restart
    reassign_every: int = 50  # steps
    reassign_until: float | None = None  # None: to the end
    coarse_until: float = 0  # until then, images and sprites of half the size,
    quarter_until: float = 0  # and until then, of a quarter
    extra_sprites: int = 0  # more than model.sprites at first; the least used are given up
    retire_from: float = 0  # one after the other between these two
    retire_until: float = 0
    refit_at: float | None = None  # sprites are fitted to polished scenes there, and then kept
    refit_rate: float = 3e-4  # the network's rate from there, falling to 0 at the end


@dataclass(frozen=True)
class Config:
    """Everything a run depends on, but its seed and device."""

    preset: str
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    description: str = ""

    def to_dict(self) -> dict:
        """Return plain lists, dicts and scalars, as `from_dict` takes them."""
        return yaml.safe_load(yaml.safe_dump(_plain(self)))

    def override(self, assignments: list[str]) -> "Config":
        """Return a copy with `section.field=value` applied; values are YAML.

        Raises DtisError for a malformed assignment, an unknown field or a wrong type or range.
        """
        values = self.to_dict()
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            path = key.strip().split(".")
            if not equals or len(path) != 2:
                raise DtisError(
                    f"--set {assignment}: expected section.field=value, "
                    "such as training.batch_size=64"
                )
            section = values.get(path[0])
            if not isinstance(section, dict):
                raise DtisError(
                    f"--set {assignment}: unknown section '{path[0]}'"
                    f"{suggest(path[0], ['data', 'model', 'training'])}"
                )
            try:
                section[path[1]] = yaml.safe_load(text)
            except (yaml.YAMLError, ValueError) as error:  # ValueError: of a date
                raise DtisError(f"--set {assignment}: '{text}' is not a YAML value") from error
        return from_dict(values, where="--set")


def _plain(value: object) -> object:
    """Turn dataclasses and tuples into dicts and lists."""
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _convert(value: object, kind: object, where: str) -> object:
    """Check `value` against an annotation and return it converted. Raises DtisError."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    wrong = DtisError(f"{where}: expected {_name(kind)}, found {value!r}")
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise DtisError(f"{where}: {value!r} is not known{suggest(str(value), arguments)}")
        return value
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _convert(value, arguments[0], where)
    if origin in (list, tuple):
        length = len(arguments) if origin is tuple else None
        if not isinstance(value, list | tuple) or length not in (None, len(value)):
            raise wrong
        return origin(_convert(item, arguments[0], where) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise wrong
        return {str(k): _convert(v, arguments[1], f"{where}.{k}") for k, v in value.items()}
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:  # YAML reads 1e-4 as a word
            number = float(value)
        except (ValueError, OverflowError):
            raise wrong from None
        if not math.isfinite(number):
            raise wrong
        return number
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise wrong
    return value


def _name(kind: object) -> str:
    """Return an annotation's name for a message."""
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _build(kind: type, values: object, where: str):
    """Build a dataclass from a dict, naming unknown, missing and wrong fields. Raises DtisError."""
    if not isinstance(values, dict):
        raise DtisError(f"{where}: expected a section with fields, found {values!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in values:
        if name not in fields:
            raise DtisError(f"{where}: unknown field '{name}'{suggest(str(name), fields)}")
    hints = typing.get_type_hints(kind)
    arguments = {}
    for name, spec in fields.items():
        if name in values:
            arguments[name] = _convert(values[name], hints[name], f"{where}: {name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise DtisError(f"{where}: field '{name}' is missing")
    return kind(**arguments)


def _check_ranges(config: Config, where: str) -> None:
    """Raise DtisError for values no run can have."""

    def need(condition: bool, name: str, wanted: str, found: object) -> None:
        if not condition:
            raise DtisError(f"{where}: {name} must be {wanted}, found {found}")

    model, training, data = config.model, config.training, config.data
    for name in ("layers", "sprites", "selection_steps", "inference_steps", "pool", "reach",
                 "channels"):  # fmt: skip
        need(getattr(model, name) >= 1, f"model.{name}", "at least 1", getattr(model, name))
    for name in ("image_size", "sprite_size"):
        value = getattr(model, name)
        need(min(value) >= 4, f"model.{name}", "at least 4 pixels a side", list(value))
    for name in ("backgrounds", "polish_steps"):
        need(getattr(model, name) >= 0, f"model.{name}", "0 or more", getattr(model, name))
    need(0 <= model.mask_noise <= 1, "model.mask_noise", "in [0, 1]", model.mask_noise)
    need(model.penalty >= 0, "model.penalty", "0 or more", model.penalty)
    need(model.mask_sigma > 0, "model.mask_sigma", "above 0", model.mask_sigma)
    need(model.mask_beta > 0, "model.mask_beta", "above 0", model.mask_beta)
    temperatures = list(model.mask_temperature)
    need(min(temperatures) > 0, "model.mask_temperature", "above 0", temperatures)
    noisy = model.mask_binarity == "noise" or not model.opaque_sprites
    need(noisy, "model.mask_binarity", "noise where sprites are opaque", model.mask_binarity)
    greedy = model.looks == "image" or model.selection == "greedy"
    need(greedy, "model.selection", "greedy where model.looks is residual", model.selection)
    greedy = model.occlusion != "sought" or model.selection == "greedy"
    need(greedy, "model.selection", "greedy where model.occlusion is sought", model.selection)
    for name in ("turns", "inference_turns"):
        turns = getattr(model, name)
        need(turns is None or turns >= 1, f"model.{name}", "at least 1", turns)
        turnable = turns in (None, 1) or "similarity" in model.sprite_transformations
        need(turnable, f"model.{name}", "1 without similarity in model.sprite_transformations",
             turns)  # fmt: skip
    need(1 <= model.views <= 4, "model.views", "1 to 4", model.views)
    turns_back = {"tint", "colour", "position", "placement", "translation", "similarity"}
    names = {*model.layer_transformations, *model.sprite_transformations}
    turnable = "similarity" in model.sprite_transformations and names <= turns_back
    turnable &= set(model.background_transformations) <= {"tint", "colour"}
    turnable &= len({*model.image_size}) == len({*model.sprite_size}) == 1
    need(model.views == 1 or turnable, "model.views",
         "1 unless images and sprites are square, and are placed, turned by similarity in "
         "model.sprite_transformations, and coloured only", model.views)  # fmt: skip
    need(0 <= model.sprite_colour <= 1, "model.sprite_colour", "in [0, 1]", model.sprite_colour)
    need(training.batch_size >= 1, "training.batch_size", "at least 1", training.batch_size)
    need(training.length > 0, "training.length", "above 0", training.length)
    need(training.reassign_every >= 1, "training.reassign_every", "at least 1",
         training.reassign_every)  # fmt: skip
    for name in ("network_rate", "appearance_rate", "mask_rate"):
        need(getattr(training, name) > 0, f"training.{name}", "above 0", getattr(training, name))
    for name in ("weight_decay", "warm_up", "frozen", "reassign_below", "appearance_late",
                 "extra_sprites", "retire_from", "coarse_until", "quarter_until"):  # fmt: skip
        need(getattr(training, name) >= 0, f"training.{name}", "0 or more", getattr(training, name))
    sides = (*model.image_size, *model.sprite_size)
    for name, part in (("coarse_until", 2), ("quarter_until", 4)):
        until = getattr(training, name)
        divisible = all(side % part == 0 for side in sides)
        need(not until or divisible, f"training.{name}",
             f"0 where an image or sprite side is not a multiple of {part}", until)  # fmt: skip
    need(training.quarter_until <= training.coarse_until, "training.quarter_until",
         "at most training.coarse_until", training.quarter_until)  # fmt: skip
    if training.extra_sprites:
        need(model.selection == "greedy", "model.selection", "greedy where there are extra sprites",
             model.selection)  # fmt: skip
        need(training.retire_from <= training.retire_until < training.length,
             "training.retire_until", "from training.retire_from to before training.length",
             training.retire_until)  # fmt: skip
    if training.refit_at is not None:
        at = training.refit_at
        need(0 < at and training.coarse_until <= at <= training.length, "training.refit_at",
             "above 0, from training.coarse_until to training.length", at)  # fmt: skip
        need(training.refit_rate > 0, "training.refit_rate", "above 0", training.refit_rate)
    moment = training.second_moment
    need(0 <= moment < 1, "training.second_moment", "in [0, 1)", moment)
    need(data.count is None or data.count >= 1, "data.count", "at least 1", data.count)
    need(data.held_out is None or data.held_out >= 1, "data.held_out", "at least 1", data.held_out)
    known = {*model.layer_transformations, *model.sprite_transformations,
             *model.background_transformations}  # fmt: skip
    for name in training.curriculum:
        need(name in known, f"training.curriculum.{name}", "a transformation of the model", name)


def from_dict(values: object, where: str) -> Config:
    """Build a checked Config; `where` names the source in errors. Raises DtisError."""
    config = _build(Config, values, where)
    _check_ranges(config, where)
    return config


def _read_yaml(path: Path) -> object:
    """Read a YAML file, on top of the preset that its `extends` names, if any."""
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())  # YAML's own take several lines
        raise DtisError(f"{path}: cannot be read as a configuration ({reason})") from error
    if isinstance(values, dict) and "extends" in values:
        base = _read_yaml(_preset_path(values.pop("extends")))
        for key, value in values.items():
            base[key] = {**base.get(key, {}), **value} if isinstance(value, dict) else value
        return base
    return values


def read_config(path: Path) -> Config:
    """Read a configuration file. Raises DtisError where it is unreadable or wrong."""
    return from_dict(_read_yaml(path), where=str(path))


def preset_names() -> list[str]:
    """Return all presets as `dataset/family`."""
    return sorted(str(p.relative_to(PRESETS).with_suffix("")) for p in PRESETS.glob("*/*.yaml"))


def _preset_path(name: str) -> Path:
    full = name if "/" in name else f"{name}/{DEFAULT_FAMILY}"
    if full not in preset_names():
        raise DtisError(f"unknown preset '{name}'{suggest(full, preset_names())}")
    return PRESETS / f"{full}.yaml"


def load_preset(name: str) -> Config:
    """Return the preset `dataset/family`, such as tetrominoes/paper; the family defaults to fast.

    Raises DtisError for an unknown name.
    """
    return read_config(_preset_path(name))
