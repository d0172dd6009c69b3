"""Reading and writing files so that nothing is half-written and every failure says what to do."""

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dtis_core.errors import DtisError

Made = TypeVar("Made")
# By a file's content, whatever its name ends in. Pillow reads more, and hands some of it, such as
# PostScript, to other programs.
PICTURES = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


@contextmanager
def system_errors_explained(what: object) -> Iterator[None]:
    """Raise what the system refuses in the block as a DtisError, about `what` if not about a file.

    Such as a folder without permission, a name that is too long, a disk that fails.
    """
    try:
        yield
    except OSError as error:
        raise DtisError(
            f"{error.filename or what}: {error.strerror or error}; check that it is there, its "
            "permissions and the free space"
        ) from error


def check_regular(path: Path) -> None:
    """Raise DtisError for what is no file of bytes: reading a pipe or a device may never end."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise DtisError(f"{path}: is not a regular file; replace or remove it")


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
    check_regular(path)
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise DtisError(f"{path}: cannot be read as JSON ({error})") from error


def read_picture(path: Path, convert: Callable[[Image.Image], Made]) -> Made:
    """Return what `convert` makes of an image file. Raises DtisError for an unreadable one."""
    check_regular(path)
    try:
        with warnings.catch_warnings():  # of odd tags, and that some would find it large
            warnings.simplefilter("ignore")
            with Image.open(path, formats=PICTURES) as picture:
                return convert(picture)
    except Exception as error:  # any: there is no end to what decoders raise for damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DtisError(
            f"{path}: cannot be read as an image ({reason}); replace or remove it"
        ) from error


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
