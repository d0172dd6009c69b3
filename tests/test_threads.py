"""How many threads torch has for small work: those that the user asked for, else one."""

import numpy as np
import pytest
import torch
from kinds import IMAGES, a_run
from small_run import small

from dtis_core import threads
from dtis_core.display.widgets import ImagePanel
from dtis_core.scenes import run as scenes_run
from dtis_core.training.session import train


@pytest.mark.parametrize(
    ("text", "count"), [(None, 1), ("", 1), ("3", 3), (" 4,2 ", 4), ("0", 1), ("many", 1)]
)
def test_omp_num_threads_decides_and_else_it_is_one(text, count):
    assert threads.wished({} if text is None else {"OMP_NUM_THREADS": text}) == count


@pytest.fixture
def four_of_which_three_are_chosen(monkeypatch):
    """Let the user have set four threads, and three be chosen for small work."""
    monkeypatch.setattr(threads, "CHOSEN", 3)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    assert torch.get_num_threads() == 4
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_of_which_three_are_chosen")
class TestSmallWork:
    """Each of these leaves the user's four threads as they were."""

    def test_after_an_error_too(self):
        with pytest.raises(ValueError, match="here"), threads.chosen_threads():
            assert torch.get_num_threads() == 3
            raise ValueError("here")

    def test_a_scene_is_sought_in_the_chosen_ones(self, monkeypatch):
        seek, used = scenes_run.best_scenes, []

        def counted(*of):
            used.append(torch.get_num_threads())
            return seek(*of)

        monkeypatch.setattr(scenes_run, "best_scenes", counted)
        a_run("clevr").decompose(IMAGES[:1])
        assert used == [3]

    def test_a_panel_renders_in_the_chosen_ones(self):
        used = []

        def render(x):
            used.append(torch.get_num_threads())
            return np.zeros((2, 2, 3), np.uint8)

        panel = ImagePanel(render, {"x": (0.0, 1.0, 0.5)})
        panel.controls["x"].value = 0.7
        assert used == [3, 3]

    def test_a_run_trains_in_them_while_somebody_watches(self, tmp_path):
        used = []

        def watcher(trainer, losses):
            used.append(torch.get_num_threads())
            return True

        train(small("training.length=45"), tmp_path / "watched", watcher=watcher, quiet=True)
        assert used == [3]
