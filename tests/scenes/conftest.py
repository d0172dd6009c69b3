"""A model of each kind, and the first image's scene as the model found it."""

import pytest
from kinds import IMAGES, KINDS, a_run


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def run(kind):
    return a_run(kind)


@pytest.fixture
def unedited(run):
    return run.decompose(IMAGES[:1])
