"""K-means on pixels: its record, and what it refuses."""

import pytest
from command_line import refused
from sklearn.cluster import KMeans

from dtis_core.baselines.records import BaselineFolder
from dtis_core.baselines.settings import KMeansSettings, k_means_settings
from dtis_core.cli import main


def test_digits_are_clustered_and_recorded(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["baseline", "k-means", "digits", "--seed", "1", "--out", str(out)]) == 0
    folder = BaselineFolder(out)
    assert folder.settings(KMeansSettings) == k_means_settings("digits")
    manifest = folder.manifest()
    assert manifest["status"] == "finished" and manifest["seed"] == 1
    scores = manifest["scores"]["digits/all"]
    assert scores["images"] == 1797
    assert 0.7 < scores["accuracy"] < 0.9 and 0.6 < scores["NMI"] < 0.85  # chance is 0.1 and 0
    assert f"accuracy {100 * scores['accuracy']:.1f}" in capsys.readouterr().out
    refused(capsys, ["baseline", "k-means", "digits", "--out", str(out)], "remove it, or choose")


def test_an_interrupt_leaves_no_run(tmp_path, monkeypatch):
    def interrupted(self, pixels):
        raise KeyboardInterrupt

    monkeypatch.setattr(KMeans, "fit", interrupted)
    assert main(["baseline", "k-means", "digits", "--out", str(tmp_path / "run")]) == 130
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "preset, part", [("tetrominoes", "no class for each image"), ("digit", "unknown preset")]
)
def test_images_without_a_class_are_refused(tmp_path, capsys, preset, part):
    out = tmp_path / "run"
    refused(capsys, ["baseline", "k-means", preset, "--out", str(out)], part)
    assert not out.exists()
