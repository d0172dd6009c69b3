"""What records of runs tell: which come with a clone, and the loss that one came to rest at."""

from dtis_core.paths import SHIPPED
from dtis_core.runs.run_folder import RunFolder


def shipped_names() -> list[str]:
    """Return the names of the models that come with the package."""
    return sorted(p.parent.name for p in SHIPPED.glob("*/model.safetensors"))


def final_loss(folder: RunFolder) -> float | None:
    """Return the mean loss over the last tenth of a run's metrics, None for one without any.

    The loss of one step depends on its images and on the mask noise; this hardly does.
    """
    losses = [line["loss"] for line in folder.metrics()]
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last) if last else None
