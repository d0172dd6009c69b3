"""dtis: unsupervised layered image decomposition into object prototypes, as a workbook.

`import dtis_core as dtis`, then `dtis.load("tetrominoes").decompose(images)`.
"""

from importlib import import_module

FACADE = {
    "DtisError": "errors",
    "Run": "scenes.run",
    "Scene": "scenes.scene",
    "load": "scenes.run",
    "score": "scoring.score",
    "train": "training.session",
}
__all__ = ["DtisError", "Run", "Scene", "load", "score", "train"]


def __getattr__(name: str) -> object:
    """Import what is asked for: not everyone who reads a part of the package needs PyTorch."""
    if name not in FACADE:
        raise AttributeError(f"module 'dtis_core' has no attribute '{name}'")
    return getattr(import_module(f"dtis_core.{FACADE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
