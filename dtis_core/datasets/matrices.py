"""Matrices of MATLAB files, read in a process of their own.

SciPy's reader trusts what a file says of itself: a single wrong byte can end the interpreter, or
let it ask for all memory there is. Here it ends another one.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

TIMEOUT = 600.0  # seconds; the largest file of SVHN takes about one minute
READER = """
import sys
import numpy as np
from scipy.io import loadmat

path, memory, *names = sys.argv[1:]
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
except ImportError:  # Windows
    pass
content = loadmat(path, variable_names=names)
for name in names:
    np.save(sys.stdout.buffer, content[name], allow_pickle=False)
"""


def read_matrices(path: Path, *names: str) -> list[np.ndarray]:
    """Return the matrices of these names in a file.

    Raises ValueError, which says why, where the file is damaged or has no such matrices.
    """
    command = [sys.executable, "-c", READER, str(path), str(_memory()), *names]
    with tempfile.TemporaryFile() as made:
        try:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=made,
                stderr=subprocess.PIPE,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"reading took more than {TIMEOUT:g} s") from None
        if ended.returncode < 0:
            raise ValueError(f"its reader was ended by signal {-ended.returncode}")
        if ended.returncode:
            lines = ended.stderr.decode(errors="replace").splitlines()
            raise ValueError(lines[-1] if lines else f"status {ended.returncode}")
        made.seek(0)
        return [np.load(made, allow_pickle=False) for _ in names]


def _memory() -> int:
    """Return the bytes of memory that this machine has, or 64 GiB where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 36
