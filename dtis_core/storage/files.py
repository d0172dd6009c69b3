"""Reading and writing files so that nothing is half-written and every failure says what to do."""

import json
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import yaml
from PIL import Image

from dtis_core.errors import DtisError, shown

Made = TypeVar("Made")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it also prints what it raises
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


def make_folder(path: Path, new: bool = False) -> None:
    """Make a folder, and those it lies in.

    Raises DtisError where that cannot be; for a `new` one, also where something is there.
    """
    try:
        path.mkdir(parents=True, exist_ok=not new)
    except FileExistsError as error:
        raise DtisError(f"{path}: exists already; choose another folder, or remove it") from error
    except OSError as error:
        raise DtisError(
            f"{path}: cannot be made ({error.strerror or error}); choose another folder, or check "
            "your permission to write there"
        ) from error


def leftovers(folder: Path, names: str) -> list[Path]:
    """Return the temporary files that `replacing` left in a folder when its process was killed.

    `names` is a regular expression of the files that they were to become.
    """
    made = re.compile(rf"\.({names})\.[a-z0-9_]{{8}}(\.\w+)?")
    return [file for file in folder.glob(".*") if made.fullmatch(file.name)]


def remove(file: Path) -> None:
    """Delete a file, if it is there. Raises DtisError where the folder cannot be written."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise DtisError(
            f"{file}: cannot be removed ({error.strerror or error}); "
            "check your permission to write there"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def read_text(path: Path) -> str:
    """Read a text file. Raises OSError or ValueError, and DtisError for what is no regular file."""
    check_regular(path)
    return path.read_text()


def write_json(path: Path, values: object) -> None:
    """Write indented JSON."""
    write_text(path, json.dumps(values, indent=1) + "\n")


def parse_json(text: str) -> object:
    """Return what JSON says. Raises ValueError where it is not JSON, or too deep to read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None


def read_json(path: Path) -> dict:
    """Read a JSON object. Raises DtisError where the file is missing, damaged or something else."""
    try:
        values = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        raise DtisError(f"{path}: cannot be read as JSON ({error})") from error
    return as_object(values, str(path), {})


def as_object(value: object, where: str, fields: dict[str, type]) -> dict:
    """Return a value of JSON that is an object with at least these fields, each of its type.

    An integer is a float, too. Raises DtisError, which begins with `where`, for anything else.
    """
    if not isinstance(value, dict):
        raise DtisError(f"{where}: expected an object with fields, found {shown(value)}")
    for name, kind in fields.items():
        if name not in value:
            raise DtisError(f"{where}: lacks the field '{name}'; restore the file, or train again")
        found = value[name]
        wanted = (int, float) if kind is float else kind
        if not isinstance(found, wanted) or isinstance(found, bool):
            raise DtisError(
                f"{where}: '{name}' must be of type {kind.__name__}, found {shown(found)}"
            )
    return value


def parse_yaml(text: str) -> object:
    """Return what YAML says. Raises ValueError, in one line, where it says nothing plain."""
    try:
        return yaml.safe_load(text)
    except Exception as error:  # of any kind: what its readers of numbers and dates stumble over
        reason = str(error) if isinstance(error, yaml.YAMLError) else repr(error)
        raise ValueError(" ".join(reason.split())) from error


def parse_value(text: str) -> object:
    """Return one value that YAML spells, given on a command line, where # begins no comment.

    Raises ValueError where it spells none.
    """
    value = parse_yaml(text)
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not text[node.end_mark.index if node else 0 :].strip():
        return value
    if node is None or (isinstance(node, yaml.ScalarNode) and node.style is None):
        return text.strip()
    raise ValueError("something follows its end")


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
