"""Presets and other files of settings: YAML, which may extend a preset."""

from pathlib import Path

from dtis_core.config.settings import Config, from_dict
from dtis_core.errors import DtisError, shown, suggest
from dtis_core.paths import PACKAGE
from dtis_core.storage.files import parse_yaml, read_text

PRESETS = PACKAGE / "presets"
DEFAULT_FAMILY = "fast"


def _read_yaml(path: Path) -> object:
    """Read a YAML file, on top of the preset that its `extends` names, if any."""
    try:
        values = parse_yaml(read_text(path))
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
