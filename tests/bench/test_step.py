"""The benchmark of a step: what it takes for a literal loss."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dtis_core
from dtis_core.bench.step import begin_as_shipped, literal_loss
from dtis_core.config import load_preset
from dtis_core.errors import DtisError
from dtis_core.training.trainer import Trainer

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


def test_a_preset_begins_as_its_shipped_model_and_others_with_initial_weights():
    images = torch.rand(8, 3, 35, 35).mul(255).byte().movedim(1, 3).numpy()
    trainer = Trainer(load_preset("tetrominoes/fast"), images, seed=0)
    assert begin_as_shipped(trainer) == "tetrominoes"
    shipped = dtis_core.load("tetrominoes").model.state_dict()
    begun = trainer.model.state_dict()
    assert all(torch.equal(begun[name], value) for name, value in shipped.items())
    trainer = Trainer(load_preset("tetrominoes/paper"), images, seed=0)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    assert begin_as_shipped(trainer) == ""
    after = trainer.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
