"""dtis: unsupervised layered image decomposition into object prototypes, as a workbook.

`import dtis_core as dtis`, then `dtis.load("tetrominoes").decompose(images)`.
"""

from dtis_core.errors import DtisError
from dtis_core.scene import Run, Scene, load

__all__ = ["DtisError", "Run", "Scene", "load"]
