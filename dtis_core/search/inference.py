"""Two named ways to infer a scene: one look, the paper's; and the best, ours, as configured."""

from dataclasses import replace

from dtis_core.config import SearchConfig
from dtis_core.errors import DtisError, suggest

INFERENCES = ("one-look", "best")
"""`one-look`: one prediction for each layer and iteration of Algorithm 1, with the paper's T, and
nothing after it. `best`: whatever the configuration's `search` pays for."""


def search_for(inference: str, search: SearchConfig) -> SearchConfig:
    """Return the settings by which an inference of `INFERENCES` seeks scenes.

    One look has the turns of training as candidates, no more. Raises DtisError for another name.
    """
    if inference not in INFERENCES:
        near = suggest(inference, INFERENCES)
        raise DtisError(f"inference: '{inference:.80}' is not known{near}")
    if inference == "best":
        return search
    return replace(
        search,
        inference_steps=search.one_look_steps,
        inference_turns=None,
        pairs=False,
        polish_steps=0,
        polish_every=0,
        views=1,
    )
