"""Reading and writing files so that nothing is half-written and every failure says what to do."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dtis_core.errors import DtisError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed onto it when the block succeeds.

    Raises DtisError where the disk is full or the folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        os.chmod(temporary, 0o644)
        temporary.replace(path)
    except OSError as error:
        raise DtisError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "check the free space and your permission to write there"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_json(path: Path, values: object) -> None:
    """Write indented JSON."""
    write_text(path, json.dumps(values, indent=1) + "\n")


def read_json(path: Path) -> dict:
    """Read JSON. Raises DtisError where the file is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DtisError(f"{path}: cannot be read as JSON ({error})") from error


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = save(plain, metadata)
    with replacing(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file and its metadata. Raises DtisError where it is missing or damaged."""
    if not path.is_file():
        raise DtisError(f"{path}: no such weight file; is this a run folder made by `dtis train`?")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DtisError(
            f"{path}: not a readable safetensors file ({error}); it may be truncated: "
            "copy it again, or train again"
        ) from error


def load_weights(module, tensors: dict[str, Tensor], where: Path) -> None:
    """Load weights by name. Raises DtisError naming the first name or shape that does not fit."""
    expected = module.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors or name not in expected:
            which = "lacks" if name not in tensors else "has the unknown"
            raise DtisError(f"{where}: {which} tensor '{name}'; is its config.yaml another run's?")
        if tensors[name].shape != expected[name].shape:
            raise DtisError(
                f"{where}: tensor '{name}' has shape {tuple(tensors[name].shape)}, its config.yaml "
                f"asks for {tuple(expected[name].shape)}"
            )
    module.load_state_dict({name: tensors[name].to(expected[name].dtype) for name in expected})
