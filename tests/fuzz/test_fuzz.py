"""Two thousand damages: each ends in a result or one line, and no file is lost."""

import re
import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).with_name("fuzz.py")


def test_damages_end_in_a_result_or_one_line():
    # In a process of its own: there, checks of types at run time raise no errors of theirs.
    command = [sys.executable, str(FUZZ), "--cases", "2000", "--seed", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    areas = re.findall(r"^(\w+) +(\d+) result +(\d+) refused", ended.stdout, re.MULTILINE)
    assert len(areas) > 10
    assert all(int(results) for _, results, _ in areas), "some damages must be harmless"
    assert sum(int(refused) for *_, refused in areas) > 1000
