"""Batches as (nested) dataclasses of tensors, such as a `Decomposition`, put together."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from torch import Tensor

Part = TypeVar("Part")  # a dataclass of tensors and such dataclasses


def combined(function: Callable[[Sequence[Tensor]], Tensor], parts: Sequence[Part]) -> Part:
    """Return a part of the same kind whose tensors are `function` of those of all parts."""
    first: Any = parts[0]
    if isinstance(first, Tensor):
        return function(parts)  # pyright: ignore[reportReturnType, reportArgumentType]
    names = [field.name for field in fields(first)]
    each = {name: [getattr(part, name) for part in parts] for name in names}
    return replace(first, **{name: combined(function, each[name]) for name in names})
