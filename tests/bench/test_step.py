"""The benchmark of a step: what it takes for a literal loss."""

import subprocess
import sys
from pathlib import Path

import pytest

from dtis_core.bench.step import literal_loss
from dtis_core.errors import DtisError

ORACLE = Path(__file__).resolve().parents[1] / "oracle.py"


def test_the_oracle_is_found_with_the_modules_beside_it():
    code = "import sys; from pathlib import Path; from dtis_core.bench.step import literal_loss; "
    code += "print(literal_loss(Path(sys.argv[1])).__name__, *sys.path)"
    python = [sys.executable, "-c", code, str(ORACLE)]  # where tests/ is not on the path
    printed = subprocess.run(python, capture_output=True, text=True, check=True).stdout.split()
    assert printed[0] == "oracle_loss" and str(ORACLE.parent) not in printed


@pytest.mark.parametrize("text", [None, "x = 1", "import no_such_module_anywhere", "def ("])
def test_a_file_without_one_is_refused(tmp_path, text):
    file = tmp_path / "loops.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DtisError, match="loops.py: has no oracle_loss"):
        literal_loss(file)
