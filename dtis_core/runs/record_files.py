"""A run's records as they must be: its manifest, and its lines of metrics."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from dtis_core.errors import DtisError
from dtis_core.storage.files import as_object, parse_json, read_json, read_text

MANIFEST = {
    "preset": str, "data": str, "data_fingerprint": str, "seed": int, "commit": str,
    "status": str, "step": int, "wall_seconds": float,
}  # fmt: skip
"""The fields that every manifest has."""
LATER = {"scores": dict, "resumed": list}  # fields that it may have


@runtime_checkable
class Settings(Protocol):
    """What a run depends on, but its seed: a configuration, or a baseline's settings."""

    @property
    def preset(self) -> str:
        """What they are called."""
        ...

    def to_dict(self) -> dict:
        """Return plain values, to be written as YAML."""
        ...


def read_manifest(file: Path) -> dict:
    """Read a manifest. Raises DtisError where a field is absent or of another type."""
    values = as_object(read_json(file), str(file), MANIFEST)
    as_object(values, str(file), {name: LATER[name] for name in LATER if name in values})
    for key, scores in values.get("scores", {}).items():
        as_object(scores, f"{file}: scores on {key}", {})
    for resumption in values.get("resumed", []):
        as_object(resumption, f"{file}: resumed", {"step": int, "commit": str})
    return values


def check_same(
    folder: Path, before: Mapping[str, object], now: Mapping[str, object], sign: str = " "
) -> None:
    """Raise DtisError where a folder's run, to be resumed, has another value than one of `now`.

    `sign` stands between name and value in the error's text.
    """
    for name, value in now.items():
        if before.get(name) != value:
            raise DtisError(
                f"{folder}: its run has {name}{sign}{before.get(name)}, not {value}; resume with "
                "the same or choose another --out"
            )


def read_metrics(file: Path) -> list[dict]:
    """Read lines of metrics; a last line cut short by a kill is left out.

    Raises DtisError where one is no record of a step and its loss.
    """
    try:
        lines = read_text(file).splitlines(keepends=True)
        records = [parse_json(line) for line in lines if line.endswith("\n")]
    except (OSError, ValueError) as error:
        raise DtisError(f"{file}: cannot be read as lines of JSON ({error})") from error
    return [
        as_object(record, f"{file}: line {number}", {"step": int, "loss": float})
        for number, record in enumerate(records, 1)
    ]
