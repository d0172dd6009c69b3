"""figures/manifest.json: of each notebook what it made, from what, and how that went.

{"notebooks": {name: {"status": "ok" or "failed", "outputs": {file: its hash}, ...}, ...}}
"""

from pathlib import Path, PurePosixPath

from dtis_core.errors import DtisError
from dtis_core.storage.files import read_json


def read_manifest(path: Path) -> dict[str, dict]:
    """Return the records by the notebooks' names; none where there is no manifest yet.

    Raises DtisError where it is damaged, or names a file outside its folder: the runner replaces
    and removes the files that are named here, and writes their names into a page.
    """
    if not path.exists():
        return {}
    manifest = read_json(path)
    records = manifest.get("notebooks") if isinstance(manifest, dict) else None
    if not isinstance(records, dict):
        raise DtisError(f"{path}: not a manifest; delete it and run again")
    for name, record in records.items():
        if not (_is_inside(name) and isinstance(record, dict) and _is_whole(record)):
            raise DtisError(f"{path}: the record of '{name:.40}' is damaged; delete it, run again")
    return records


def _is_whole(record: dict) -> bool:
    """Tell whether a record has all that is read of it later, of the right kinds."""
    texts = ["title", "profile", "inputs"] + ["error"] * (record.get("status") == "failed")
    outputs, tables = record.get("outputs"), record.get("tables", [])
    return (
        record.get("status") in ("ok", "failed")
        and all(isinstance(record.get(name), str) for name in texts)
        and isinstance(record.get("paper", ""), str)
        and isinstance(record.get("seconds"), int | float)
        and isinstance(record.get("without_data", 0), int)
        and isinstance(outputs, dict)
        and all(_is_inside(file) and isinstance(sha, str) for file, sha in outputs.items())
        and isinstance(tables, list)
        and all(map(_is_table, tables))
    )


def _is_table(table: object) -> bool:
    return (
        isinstance(table, dict)
        and isinstance(table.get("title"), str)
        and isinstance(table.get("below", ""), str)
        and isinstance(table.get("rows"), list)
        and len(table["rows"]) > 0
        and all(isinstance(row, list) for row in table["rows"])
        and all(isinstance(cell, str) for row in table["rows"] for cell in row)
    )


def _is_inside(file: str) -> bool:
    """Tell whether a relative path stays below where it starts from."""
    path = PurePosixPath(file)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
