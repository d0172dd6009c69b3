"""Settings built from plain values, with errors that name the field."""

import dataclasses
import math
import types
import typing
from typing import Annotated, Literal, TypeVar

from dtis_core.errors import DtisError, shown, suggest

LARGEST = 10**9  # of any number
Built = TypeVar("Built")


def plain(value: object) -> object:
    """Turn dataclasses and tuples into dicts and lists; all of these are new."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def _convert(value: object, kind: object, where: str) -> object:
    """Check `value` against an annotation and return it converted. Raises DtisError."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        value = _convert(value, arguments[0], where)
        arguments[1].check(value, where)
        return value
    if dataclasses.is_dataclass(kind):
        return build(kind, value, where, join=".")
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


def build(kind: type[Built], values: object, where: str, join: str = ": ") -> Built:
    """Build a dataclass from a dict, naming unknown, missing and wrong fields. Raises DtisError."""
    if not isinstance(values, dict):
        raise DtisError(f"{where}: expected a section with fields, found {shown(values)}")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in values:
        if name not in fields:
            found = shown(name).strip("'")
            raise DtisError(f"{where}: unknown field '{found}'{suggest(found, fields)}")
    hints = typing.get_type_hints(kind, include_extras=True)
    arguments = {}
    for name, spec in fields.items():
        if name in values:
            arguments[name] = _convert(values[name], hints[name], f"{where}{join}{name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise DtisError(f"{where}: field '{name}' is missing")
    return kind(**arguments)
