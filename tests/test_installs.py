"""All ways to install take the versions of pyproject.toml, the same Python, and no other host."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHON = "3.11"
FILES = ["environment.yml", "Dockerfile", ".binder/requirements.txt", ".binder/postBuild"]


def versions(requirements):
    """The version of each package that is required, None where any will do."""
    pins = (re.fullmatch(r"([\w.-]+)(\[.*\])?(==?(\S+))?", line) for line in requirements)
    return {pin[1].lower(): pin[4] for pin in pins}


PINNED = versions(
    line
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in group
)


def strays(requirements):
    """What is required beside this package itself that is not a pin of pyproject.toml."""
    own = re.compile(r"-e \.(\[([\w,]+)\])?")
    found = [own.fullmatch(line) for line in requirements]
    extras = {name for match in found if match and match[2] for name in match[2].split(",")}
    others = versions(line for line, match in zip(requirements, found, strict=True) if not match)
    unknown = extras - PROJECT["optional-dependencies"].keys()
    return unknown | {name for name, version in others.items() if PINNED.get(name) != version}


def read_lines(path):
    lines = (line.partition("#")[0].strip() for line in (ROOT / path).read_text().splitlines())
    return [line for line in lines if line]


def test_binder_and_conda_install_this_package_at_its_pins():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    by_pip = next(part["pip"] for part in conda if isinstance(part, dict))
    for requirements in (read_lines(".binder/requirements.txt"), by_pip):
        assert any(line.startswith("-e .") for line in requirements)
        assert strays(requirements) == set()
    unpinned = ["-e .[nosuch]", "numpy==1.0", "torch==" + PINNED["torch"]]
    assert strays(unpinned) == {"nosuch", "numpy"}


def test_all_take_the_same_python():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python={PYTHON}" in conda
    assert read_lines(".binder/runtime.txt") == [f"python-{PYTHON}"]
    assert re.findall(r"(?m)^FROM python:([\d.]+)", (ROOT / "Dockerfile").read_text()) == [PYTHON]
    assert PROJECT["requires-python"] == f">={PYTHON}"


@pytest.mark.parametrize("path", FILES)
def test_none_names_a_host(path):
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", (ROOT / path).read_text())


def test_binder_enables_the_server_extension_where_its_python_is(tmp_path):
    fake = tmp_path / "bin" / "python"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "{tmp_path}"\n')
    fake.chmod(0o755)
    assert os.access(ROOT / ".binder" / "postBuild", os.X_OK)
    path = f"{fake.parent}:{os.environ['PATH']}"
    subprocess.run([ROOT / ".binder" / "postBuild"], cwd=ROOT, env={"PATH": path}, check=True)
    made = tmp_path / "etc" / "jupyter" / "jupyter_server_config.d" / "dtis.json"
    assert made.read_text() == (ROOT / "dtis_core/display/jupyter_server.json").read_text()
