"""K-means on pixels: what clustering reaches without transformations, masks or a network."""

import time
from pathlib import Path

import torch

from dtis_core.baselines.records import BaselineFolder
from dtis_core.baselines.settings import KMeansSettings
from dtis_core.errors import NoLabels
from dtis_core.runs.run_folder import commit, device_name
from dtis_core.scoring.metrics import clustering_accuracy, nmi
from dtis_core.scoring.results import score_key


def run_k_means(settings: KMeansSettings, out: Path | str, seed: int = 0) -> BaselineFolder:
    """Cluster a preset's images, record the scores in the folder `out`, and return it.

    Clusters are found in all images that the preset scores, as ours are. Raises DtisError where
    the folder holds a run, and for images that cannot be had or have no class each.
    """
    from sklearn.cluster import KMeans  # here, since its import takes a second

    where = settings.images.data
    data = settings.images.load(where.score_split, where.held_out)
    if data.categories is None or data.categories.shape[1] > 1:
        raise NoLabels(f"{data.name}: has no class for each image; give a preset that clusters")
    pixels = data.images.reshape(len(data), -1) / 255  # (N, H W 3)
    with BaselineFolder(out).writing() as folder:
        folder.check_new()
        wall, cpu = time.monotonic(), time.process_time()
        found = KMeans(settings.clusters, n_init=settings.starts, random_state=seed).fit(pixels)
        seconds, cpu = time.monotonic() - wall, time.process_time() - cpu
        error = float(found.inertia_) / pixels.size
        folder.begin(settings, seed, data.fingerprint, data.name)  # an interrupt leaves no run
        folder.log(step=int(found.n_iter_), loss=error, seconds=round(seconds, 2))
        folder.update_manifest(
            status="finished",
            step=int(found.n_iter_),
            wall_seconds=round(seconds, 1),
            cpu_seconds=round(cpu, 1),
            device=device_name(torch.device("cpu")),
        )
        folder.note_scores(
            score_key(where.name, where.score_split),
            {
                "data": data.name,
                "images": len(data),
                "split": where.score_split,
                "accuracy": clustering_accuracy(data.categories[:, 0], found.labels_),
                "NMI": nmi(data.categories[:, 0], found.labels_),
                "reconstruction_error": error,
                "scored_by_commit": commit(),
            },
        )
    return folder
