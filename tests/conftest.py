"""Shared by all tests: shapes checked at run time, one thread, no windows, repeatable examples."""

import matplotlib
import pytest
from hypothesis import settings
from jaxtyping import config, install_import_hook

# Before the first import of dtis_core: every annotated shape and type is checked at each call,
# where an int may stand for a float, as PEP 484 has it.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
install_import_hook("dtis_core", CHECKER)

settings.register_profile("dtis", deadline=None, derandomize=True)
settings.load_profile("dtis")


@pytest.fixture(scope="session", autouse=True)
def _one_thread_and_no_windows():
    """Make sums repeatable on any number of cores, and let figures be drawn without a screen."""
    import torch

    torch.set_num_threads(1)
    matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _shapes_are_checked_once(request):
    """Leave out the checks at each call, a fifth of the time, where whole runs are compared."""
    config.update("jaxtyping_disable", request.node.get_closest_marker("whole_runs") is not None)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture
def often(monkeypatch):
    """Let sweeps look at their runs more often, by one thread each, as on the workers."""
    from dtis_core.sweeps import sweep

    monkeypatch.setattr(sweep, "PERIOD", 0.05)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
