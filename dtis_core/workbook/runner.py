"""Run the workbook: each notebook in its own papermill process, its results published if it ends.

notebooks/NN_name.ipynb -> papermill -> staging folder -> figures/          what it drew
                                                          figures/notebooks/ its executed copy,
                                                          and that as a page for a browser
                                                          figures/logs/      what it printed

A notebook draws into the folder named by `DTIS_FIGURES`: a staging folder of its own, whose files
are moved to figures/ once its last cell has run. So nothing there is ever half-written, and
figures/manifest.json can say which notebook made which file. figures/index.html shows it all.
"""

import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from dtis_core.errors import DtisError, suggest
from dtis_core.paths import CLONE, NOTEBOOKS
from dtis_core.storage.files import parse_value, system_errors_explained, write_json, write_text
from dtis_core.storage.locks import locked
from dtis_core.workbook.index import Looks, index_html, lacking, read_captions, shapes_of
from dtis_core.workbook.job import Job, environment, requests_to_end, stop
from dtis_core.workbook.manifest import read_manifest
from dtis_core.workbook.notebook import Notebook, read_notebooks, settle, sha256, versions
from dtis_core.workbook.page import page_of, parts_without_data, tables_of

LOCK, STAGING = ".lock", ".staging-"
RESERVED = {"manifest.json", "index.html", "notebooks", "logs", LOCK}
"""Names in the output folder that belong to the runner: no notebook may draw over them."""
LINKS = [
    ("all notebooks", "../index.html"),
    ("start here, with a scene to take apart", "../index.html#start"),
]
"""At the top of every notebook's page."""
MOST_JOBS = 8
"""Jobs by default on more cores than that: a notebook needs about a gigabyte of memory."""
POLL_SECONDS = 0.1


def run_workbook(
    notebooks: list[Path] | None = None,
    only: list[str] | None = None,
    jobs: int | None = None,
    parameters: dict | None = None,
    force: bool = False,
    timeout: float = 1800,
    output: Path | None = None,
) -> int:
    """Execute notebooks, skip those that are up to date, and publish what they make.

    Args:
        notebooks: files to run; all of the clone's notebooks/NN_name.ipynb by default.
        only: names or beginnings of names (`05`, `08_mask_noise`) to choose among `notebooks`.
        jobs: how many notebooks run side by side, by default one for each core; each has one
            thread unless OMP_NUM_THREADS says otherwise.
        parameters: values, each passed to the notebooks whose parameters cell names it; `profile`
            is "quick" unless it is among them.
        force: run also what is up to date.
        timeout: seconds of wall time after which a notebook is stopped and counts as failed.
        output: the folder to publish in; the clone's figures/ by default.

    Returns:
        0 if no notebook failed, 1 if one did; 128 plus the number of a signal that ended the run
        early, which is 130 for Ctrl-C. What had ended is kept, and no process is left behind.

    A failed notebook stops no other one. Its record keeps the outputs of its last good run, and
    its log and the executed cells lie in logs/.

    Raises:
        DtisError: unknown name or parameter, no or unreadable notebook, unreadable manifest, or
            another run that writes to the same folder.
    """
    jobs = min(os.cpu_count() or 1, MOST_JOBS) if jobs is None else jobs
    if jobs < 1:
        raise DtisError(f"jobs: found {jobs}, give at least 1")
    output = Path(output or CLONE / "figures").resolve()
    found = notebooks or sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise DtisError(f"{NOTEBOOKS}: found no NN_name.ipynb to run")
    parameters = {"profile": "quick"} | (parameters or {})
    chosen = read_notebooks(_choose(found, only), parameters)
    # What one run records, another that had read the manifest before would drop.
    with system_errors_explained(output), locked(output / LOCK, str(output)):
        run = _Run(output, str(parameters["profile"]), timeout)
        run.captions = read_captions(found[0].parent)
        current = [] if force else [notebook for notebook in chosen if run.is_current(notebook)]
        waiting = [notebook for notebook in chosen if notebook not in current]
        waiting.sort(key=run.seconds, reverse=True)  # the longest first
        with tqdm(total=len(chosen), unit="notebook", disable=not sys.stderr.isatty()) as bar:
            for notebook in current:
                _report(bar, "up to date", notebook.name)
            ended_by = _execute(run, waiting, jobs, bar)
    if ended_by:
        return 128 + ended_by
    failed = [n.name for n in chosen if run.records[n.name]["status"] != "ok"]
    print(f"{len(chosen) - len(failed)} of {len(chosen)} notebooks ok; see {output / 'index.html'}")
    return 1 if failed else 0


def _execute(run: "_Run", notebooks: list[Notebook], jobs: int, bar: tqdm) -> int:
    """Run notebooks, `jobs` side by side; return the signal that ended this early, or 0."""
    waiting, running = deque(notebooks), []
    for stale in run.output.glob(f"{STAGING}*"):  # left by a killed process
        shutil.rmtree(stale, ignore_errors=True)
    with (
        requests_to_end() as signals,
        tempfile.TemporaryDirectory(
            prefix=STAGING, dir=run.output, ignore_cleanup_errors=True
        ) as staging,
    ):
        try:
            while (waiting or running) and not signals:
                while waiting and len(running) < jobs:
                    notebook = waiting.popleft()
                    folder = Path(staging) / notebook.name
                    running.append(Job.start(notebook, folder, environment()))
                time.sleep(POLL_SECONDS)
                for job in [job for job in running if job.is_over(run.timeout)]:
                    _report(bar, *run.finish(job))
                    running.remove(job)
        finally:
            stop(running)
        if not (waiting or running):
            return 0
        names = ", ".join([job.notebook.name for job in running] + [n.name for n in waiting])
        bar.write(f"interrupted; not run: {names}. The same command goes on from here.")
        return signals[0]


def parse_assignments(assignments: Iterable[str]) -> dict:
    """Parse `name=value` words; values are YAML scalars (`5`, `1e-3`, `true`, `text`).

    Raises:
        DtisError: a word without a name or `=`, or with a value that is no scalar.
    """
    parsed = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not (separator and name.isidentifier()):
            raise DtisError(f"--set: found '{assignment:.80}', give name=value")
        try:
            value = parse_value(text)
        except ValueError as error:
            raise DtisError(f"--set {name}: '{text:.80}' is not a YAML value") from error
        if not isinstance(value, (str, int, float, bool, type(None))):
            raise DtisError(
                f"--set {name}: '{text:.80}' is a {type(value).__name__}, give one value"
            )
        # YAML 1.1 takes 1e-3 for text, since it asks for a dot in a float.
        parsed[name] = float(text) if re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", text) else value
    return parsed


class _Run:
    """The state of one call of `run_workbook`: records by notebook, and who owns which file."""

    def __init__(self, output: Path, profile: str, timeout: float):
        self.output, self.profile, self.timeout = output, profile, timeout
        self.captions: dict[str, str] = {}
        self.records: dict[str, dict] = read_manifest(output / "manifest.json")
        for folder in ("notebooks", "logs"):
            (output / folder).mkdir(parents=True, exist_ok=True)
        self.owners: dict[str, str] = {}  # of the files that this run has made or found current

    def seconds(self, notebook: Notebook) -> float:
        """Return how long the last run took; a new notebook counts as long, and runs early."""
        return self.records.get(notebook.name, {}).get("seconds", math.inf)

    def is_current(self, notebook: Notebook) -> bool:
        """Whether the last run ended well, from the same inputs, and its files are untouched."""
        record = self.records.get(notebook.name, {"status": "new"})
        current = (
            record["status"] == "ok"
            and record["inputs"] == notebook.inputs
            and all(sha256(self.output / file) == sha for file, sha in record["outputs"].items())
        )
        if current:
            self.owners |= dict.fromkeys(record["outputs"], notebook.name)
        return current

    def finish(self, job: Job) -> tuple[str, str]:
        """Publish or reject what a job made, record it, and return its status and a summary."""
        notebook, seconds = job.notebook, time.monotonic() - job.started
        record = {
            "status": "ok",
            "title": notebook.title,
            "paper": notebook.paper,
            "seconds": round(seconds, 2),
            "profile": self.profile,
            "parameters": notebook.parameters,
            "inputs": notebook.inputs,
            "versions": versions(),
        }
        earlier = self.records.get(notebook.name, {}).get("outputs", {})
        log = self.output / "logs" / f"{notebook.name}.txt"
        unfinished = self.output / "logs" / f"{notebook.name}.ipynb"
        summary = f"{notebook.name}  {seconds:.1f} s"
        try:
            job.check(self.timeout)
            record["tables"] = tables_of(job.executed)
            record["without_data"] = parts_without_data(job.executed)
            record["outputs"] = self._publish(job, earlier)
            unfinished.unlink(missing_ok=True)
            summary += f", {len(record['outputs'])} files{lacking(record)}"
        except DtisError as error:
            record |= {"status": "failed", "error": str(error), "outputs": earlier}
            if job.executed.exists():
                os.replace(job.executed, unfinished)
            summary += f": {error} (log: {log})"
        os.replace(job.folder / "log.txt", log)
        shutil.rmtree(job.folder, ignore_errors=True)
        self.records[notebook.name] = record
        manifest = {"notebooks": dict(sorted(self.records.items()))}
        write_json(self.output / "manifest.json", manifest)
        made = [file for record in self.records.values() for file in record["outputs"]]
        looks = Looks(self.captions, shapes_of(self.output, made))
        write_text(self.output / "index.html", index_html(manifest["notebooks"], looks))
        return record["status"], summary

    def _publish(self, job: Job, earlier: Iterable[str]) -> dict[str, str]:
        """Move a job's files to the output folder; return the hash of each by its place there."""
        name, drawn = job.notebook.name, job.folder / "figures"
        files = {p.relative_to(drawn).as_posix(): p for p in drawn.rglob("*") if p.is_file()}
        for file in files:
            owner = self.owners.get(file, name)
            if owner != name or Path(file).parts[0] in RESERVED:
                raise DtisError(
                    f"figure '{file}' is also made by {owner if owner != name else 'the runner'}:"
                    " give it another name"
                )
        settle(job.executed)
        write_text(job.page, page_of(job.executed, LINKS))
        files |= {f"notebooks/{name}.ipynb": job.executed, f"notebooks/{name}.html": job.page}
        outputs = {}
        for file, made in sorted(files.items()):
            target = self.output / file
            target.parent.mkdir(parents=True, exist_ok=True)
            outputs[file] = sha256(made)
            os.replace(made, target)
            for record in self.records.values():  # a figure may move from notebook to notebook
                record["outputs"].pop(file, None)
        for file in set(earlier) - set(outputs):
            (self.output / file).unlink(missing_ok=True)
        self.owners |= dict.fromkeys(outputs, name)
        return outputs


def _choose(notebooks: list[Path], only: list[str] | None) -> list[Path]:
    """Return the notebooks of which a word in `only` is the name or its beginning."""
    words = [Path(word).stem for word in only or [""]]
    for word in words:
        if not any(path.stem.startswith(word) for path in notebooks):
            near = suggest(word, (path.stem for path in notebooks))
            raise DtisError(f"no notebook is called, or begins with, '{word}'{near}")
    return [path for path in notebooks if any(path.stem.startswith(word) for word in words)]


def _report(bar: tqdm, status: str, summary: str) -> None:
    with bar.external_write_mode():
        print(f"{status:<10}  {summary}", flush=True)
    bar.update()
