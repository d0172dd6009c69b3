"""Settings: what they are, what they may be, and the presets that name whole sets of them.

May import: errors, storage, paths.
"""

from dtis_core.config.presets import PRESETS, load_preset, preset_names, read_config
from dtis_core.config.settings import (
    SECTIONS,
    Config,
    DataConfig,
    ModelConfig,
    SearchConfig,
    TrainingConfig,
    from_dict,
)

__all__ = [
    "PRESETS",
    "SECTIONS",
    "Config",
    "DataConfig",
    "ModelConfig",
    "SearchConfig",
    "TrainingConfig",
    "from_dict",
    "load_preset",
    "preset_names",
    "read_config",
]
