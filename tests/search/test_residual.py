"""Our residual search against the loops of `search_oracle.py`."""

import pytest
from oracle import Oracle
from random_models import MODELS, check_equality, draw_config, is_training
from search_oracle import SearchOracle

from dtis_core.config import SearchConfig

HEADS = ("pooled", "attention")


@pytest.mark.parametrize("number", MODELS)
def test_residual_looks_equal_their_loops(number):
    search = SearchConfig(looks="residual", head=HEADS[number % 2])
    check_equality(number, search, SearchOracle)


@pytest.mark.parametrize("number", MODELS[::4])
def test_attention_alone_equals_the_papers_loops(number):
    check_equality(number, SearchConfig(head="attention"), Oracle)


def test_the_models_miss_nothing():
    configs = {number: draw_config(number) for number in MODELS}
    again = [n for n, config in configs.items() if config.selection_steps > 1]
    several = {(is_training(n), configs[n].occlusion, configs[n].empty_sprite) for n in again}
    assert len(several) == 8
    assert {(n % 2, configs[n].occlusion) for n in MODELS} == {
        (head, occlusion) for head in (0, 1) for occlusion in ("fixed", "predicted")
    }
