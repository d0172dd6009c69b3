"""The runs that come with a clone: their records, and of some the weights."""

from dtis_core.paths import SHIPPED


def shipped_names() -> list[str]:
    """Return the names of the models that come with the package."""
    return sorted(p.parent.name for p in SHIPPED.glob("*/model.safetensors"))
