"""Reading, checking and writing weights: safetensors files."""

import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dtis_core.errors import DtisError
from dtis_core.storage.files import replacing


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


def first_not_finite(tensors: dict[str, Tensor]) -> str | None:
    """Return the name of the first tensor that holds nan or infinity, if any does."""
    return next((name for name in sorted(tensors) if not tensors[name].isfinite().all()), None)


def check_tensors(tensors: dict[str, Tensor], expected: dict[str, Tensor], where: Path) -> None:
    """Raise DtisError naming the first tensor that is absent, unknown or unlike the expected one.

    Shapes must be equal, and where one holds real numbers, so must the other: finite ones.
    """
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors or name not in expected:
            which = "lacks" if name not in tensors else "has the unknown"
            raise DtisError(f"{where}: {which} tensor '{name}'; is its config.yaml another run's?")
        found, wanted = tensors[name], expected[name]
        if found.shape != wanted.shape:
            raise DtisError(
                f"{where}: tensor '{name}' has shape {tuple(found.shape)}, its config.yaml "
                f"asks for {tuple(wanted.shape)}"
            )
        if found.is_floating_point() != wanted.is_floating_point() or found.is_complex():
            raise DtisError(
                f"{where}: tensor '{name}' is of {found.dtype}, not {wanted.dtype}; copy the file "
                "again, or train again"
            )
        if not found.to(wanted.dtype).isfinite().all():
            raise DtisError(
                f"{where}: tensor '{name}' holds nan or infinity; copy the file again, or train "
                "again with lower rates"
            )


def load_weights(module, tensors: dict[str, Tensor], where: Path) -> None:
    """Load weights by name. Raises DtisError naming the first tensor that does not fit."""
    expected = module.state_dict()
    check_tensors(tensors, expected, where)
    module.load_state_dict({name: tensors[name].to(expected[name].dtype) for name in expected})
