"""Settings: dataclasses with their ranges, presets as YAML files, overrides, clear errors."""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import yaml

from dtis_core.config_rules import Within, check_rules
from dtis_core.errors import DtisError, shown, suggest
from dtis_core.files import parse_value, parse_yaml
from dtis_core.paths import PACKAGE, user_path

PRESETS = PACKAGE / "presets"
DEFAULT_FAMILY = "fast"
LARGEST = 10**9  # of any number

Count = Annotated[int, Within(1)]
CountOrNone = Annotated[int, Within(0)]
Share = Annotated[float, Within(0, 1)]
Positive = Annotated[float, Within(0, above=True)]
NotNegative = Annotated[float, Within(0)]
Side = Annotated[int, Within(4)]  # pixels


@dataclass(frozen=True)
class DataConfig:
    """What to train on, and what to hold out."""

    name: str
    path: str | None = None  # the folder of a data set that is anyone's own
    count: Count | None = None  # training images; None: all there are
    held_out: Count | None = 320  # images to score at most; None: all of the split
    train_split: str = "train"
    score_split: str = "test"


@dataclass(frozen=True)
class ModelConfig:
    """The image model and its predictor (Sec. 3.1 and 3.3)."""

    image_size: tuple[Side, Side]
    layers: Count  # L
    sprites: Count  # K
    sprite_size: tuple[Side, Side]
    mask_sigma: Positive  # pixels; deviation of the Gaussian that masks start from
    sprite_colour: Share = 0.9  # all channels' start
    layer_transformations: list[str] = field(default_factory=list)  # T^lay, shared in a layer
    sprite_transformations: list[str] = field(default_factory=list)  # T^spr, one per sprite
    background_transformations: list[str] = field(default_factory=list)  # T^bkg
    backgrounds: CountOrNone = 0  # K'
    channels: Count = 3  # C
    empty_sprite: bool = False
    opaque_sprites: bool = False  # no masks, as in DTI-Clustering
    occlusion: Literal["fixed", "predicted"] = "fixed"
    penalty: NotNegative = 0.0  # lambda of Eq. (5), for an error averaged over pixels and channels
    mask_binarity: Literal["noise", "beta", "concrete"] = "noise"  # what makes masks binary
    mask_noise: Share = 0.4  # amplitude, where that is noise; 0 trains without
    mask_beta: Positive = 1.0  # weight of x^2 (1 - x)^2 in Eq. (5), where it is beta
    mask_temperature: tuple[Positive, Positive] = (2.0, 0.5)  # first and last, where it is concrete
    selection: Literal["greedy", "exhaustive"] = "greedy"
    selection_steps: Count = 1  # T of Algorithm 1
    encoder: Literal["resnet32", "resnet18", "small"] = "resnet32"  # small is ours
    pool: Count = 1  # side of the pooled feature map


@dataclass(frozen=True)
class SearchConfig:
    """How scenes are sought where that is not the paper's way, which is the default."""

    head: Literal["pooled", "attention"] = "pooled"
    reach: Count = 3  # cells around an attention map's peak that count
    looks: Literal["image", "residual"] = "image"
    turns: Count = 1  # rotations of each sprite that are candidates, on top of the predicted one
    depths: Literal["given", "sought"] = "given"  # whether the layers' order is chosen, too
    alternate_steps: bool = False  # train with T = 1, ..., model.selection_steps in turn
    inference_steps: Count | None = None  # T at inference; None: as in training
    inference_turns: Count | None = None  # turns at inference; None: as in training
    polish_steps: CountOrNone = 0  # gradient steps on a found scene's parameters, at inference
    views: Annotated[int, Within(1, 4)] = 1  # quarter turns of an image in which to seek a scene


@dataclass(frozen=True)
class TrainingConfig:
    """The schedule. All durations are in `unit`s; rates are Adam's."""

    length: Positive
    unit: Literal["epoch", "step"]
    batch_size: Count
    network_rate: Positive
    appearance_rate: Positive
    mask_rate: Positive
    weight_decay: NotNegative = 1e-6  # networks only
    second_moment: Annotated[float, Within(0, 1, below=True)] = 0.999  # Adam's beta_2
    warm_up: NotNegative = 0  # rates rise linearly from 0
    frozen: NotNegative = 0  # sprites do not learn yet
    decay_at: list[float] = field(default_factory=list)  # rates times 0.1 there
    appearance_late_rate: float | None = None  # the appearances' rate from `appearance_late` on
    appearance_late: NotNegative = 0
    cosine_from: float | None = None  # rates fall to 0 along a half cosine from there to the end
    decay_sprites: bool = True  # False: the sprites' rates stay
    curriculum: dict[str, float] = field(default_factory=dict)  # transformation: when it joins
    reassign_below: NotNegative = 20  # percent / K of layers; sprites used less restart
    reassign_every: Count = 50  # steps
    reassign_until: float | None = None  # None: to the end
    coarse_until: NotNegative = 0  # until then, images and sprites of half the size,
    quarter_until: NotNegative = 0  # and until then, of a quarter
    extra_sprites: CountOrNone = 0  # more than model.sprites at first; the least used are given up
    retire_from: NotNegative = 0  # one after the other between these two
    retire_until: NotNegative = 0
    refit_at: Positive | None = None  # sprites are fitted to polished scenes there, and then kept
    refit_rate: Positive = 3e-4  # the network's rate from there, falling to 0 at the end


SECTIONS = ("data", "model", "search", "training")


@dataclass(frozen=True)
class Config:
    """Everything a run depends on, but its seed and device."""

    preset: str
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    search: SearchConfig = field(default_factory=SearchConfig)
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
                    f"--set {assignment}: unknown section '{path[0]}'{suggest(path[0], SECTIONS)}"
                )
            try:
                section[path[1]] = parse_value(text)
            except ValueError as error:
                raise DtisError(
                    f"--set {assignment:.80}: '{text:.80}' is not a YAML value"
                ) from error
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
    if origin is Annotated:
        value = _convert(value, arguments[0], where)
        arguments[1].check(value, where)
        return value
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where)
    if kind in (int, float):
        return _number(value, kind, where)
    if origin is Literal:
        return _one_of(value, arguments, where)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _convert(value, arguments[0], where)
    wanted = (list, tuple) if origin in (list, tuple) else origin or kind
    if not isinstance(value, wanted) or (origin is tuple and len(value) != len(arguments)):
        raise DtisError(f"{where}: expected {_name(kind)}, found {shown(value)}")
    if origin in (list, tuple):
        return origin(_convert(item, arguments[0], where) for item in value)
    if origin is dict:
        return {str(k): _convert(v, arguments[1], f"{where}.{k}") for k, v in value.items()}
    return value


def _one_of(value: object, known: tuple[str, ...], where: str) -> object:
    """Return a value that is one of the known words. Raises DtisError for another."""
    if value not in known:
        found = shown(value)
        near = suggest(found.strip("'"), known)
        raise DtisError(f"{where}: {found} is not known{near}")
    return value


def _number(value: object, kind: type, where: str) -> int | float:
    """Return an int or a float, as `kind` says. Raises DtisError for what is none, or absurd."""
    wrong = DtisError(f"{where}: expected {kind.__name__}, found {shown(value)}")
    given = int if kind is int else int | float | str  # YAML reads 1e-4 as a word
    if not isinstance(value, given) or isinstance(value, bool):
        raise wrong
    try:
        number = kind(value)
    except (ValueError, OverflowError):
        raise wrong from None
    if kind is float and not math.isfinite(number):
        raise wrong
    if abs(number) > LARGEST:
        raise DtisError(f"{where}: must be within ±{LARGEST:,}, found {shown(value)}")
    return number


def _name(kind: object) -> str:
    """Return an annotation's name for a message."""
    if typing.get_origin(kind) is Annotated:
        return _name(typing.get_args(kind)[0])
    if typing.get_origin(kind) is tuple:
        return f"tuple[{', '.join(map(_name, typing.get_args(kind)))}]"
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _build(kind: type, values: object, where: str):
    """Build a dataclass from a dict, naming unknown, missing and wrong fields. Raises DtisError."""
    if not isinstance(values, dict):
        raise DtisError(f"{where}: expected a section with fields, found {shown(values)}")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in values:
        if name not in fields:
            found = shown(name).strip("'")
            raise DtisError(f"{where}: unknown field '{found}'{suggest(found, fields)}")
    hints = typing.get_type_hints(kind, include_extras=True)
    # A section's fields are named as `--set` names them: model.layers.
    join = ": " if kind is Config else "."
    arguments = {}
    for name, spec in fields.items():
        if name in values:
            arguments[name] = _convert(values[name], hints[name], f"{where}{join}{name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise DtisError(f"{where}: field '{name}' is missing")
    return kind(**arguments)


def from_dict(values: object, where: str) -> Config:
    """Build a checked Config; `where` names the source in errors. Raises DtisError.

    A relative data.path is taken from where the user stands, and is absolute from then on.
    """
    config = _build(Config, values, where)
    check_rules(config, where)
    if config.data.path is None:
        return config
    path = str(user_path(config.data.path, f"{where}: data.path").absolute())
    return replace(config, data=replace(config.data, path=path))


def _read_yaml(path: Path) -> object:
    """Read a YAML file, on top of the preset that its `extends` names, if any."""
    try:
        values = parse_yaml(path.read_text())
    except (OSError, ValueError) as error:
        raise DtisError(f"{path}: cannot be read as a configuration ({error})") from error
    if not isinstance(values, dict) or "extends" not in values:
        return values
    name = values.pop("extends")
    if not isinstance(name, str):
        raise DtisError(f"{path}: extends must name a preset, found {shown(name)}")
    base = _read_yaml(_preset_path(name))
    for key, value in values.items():
        sections = isinstance(value, dict) and isinstance(base.get(key), dict)
        base[key] = base[key] | value if sections else value
    return base


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
