"""Run folders of baselines: as ours, with a baseline's settings as config.yaml."""

from dtis_core.baselines.settings import Chosen
from dtis_core.config.building import build
from dtis_core.errors import DtisError
from dtis_core.paths import SHIPPED
from dtis_core.runs.run_folder import RunFolder
from dtis_core.storage.files import parse_yaml, read_text

BASELINES = SHIPPED / "baselines"  # apart from our runs, which are listed by their folders


class BaselineFolder(RunFolder):
    """Reads and writes the run folder of a baseline."""

    INSTEAD = "remove it, or choose another --out; slot-attention continues it with --resume"

    def settings(self, kind: type[Chosen]) -> Chosen:
        """Return the run's settings. Raises DtisError where there are none of this kind."""
        file = self.path / "config.yaml"
        if not self.exists:
            raise DtisError(f"{self.path}: holds no run of {kind.METHOD} (it has no config.yaml)")
        try:
            values = parse_yaml(read_text(file))
        except (OSError, ValueError) as error:
            raise DtisError(f"{file}: cannot be read as settings ({error})") from error
        return build(kind, values, str(file))

    def curve(self) -> list[dict]:
        """Return the lines of metrics.jsonl that have scores."""
        return [line for line in self.metrics() if "ARI" in line]


def shipped_baselines(preset: str) -> list[BaselineFolder]:
    """Return the recorded runs of a method on a preset's images, by seed.

    `preset` is as in their manifests, such as "slot-attention/tetrominoes/fast".
    """
    folders = [BaselineFolder(path.parent) for path in BASELINES.glob("*/manifest.json")]
    found = [folder for folder in folders if folder.manifest()["preset"] == preset]
    return sorted(found, key=lambda folder: folder.manifest()["seed"])
