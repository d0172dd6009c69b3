"""Damage what dtis reads, at random but repeatably, and see that it ends in a result or one line.

    python tests/fuzz/fuzz.py --cases 20000 --seed 1
    python tests/fuzz/fuzz.py --case 1234 --seed 1          one case again, with its traceback

A case is a result, or a DtisError of one line (on the command line: exit status 2 and that line
alone); files that were there are there as they were, or validly replaced. A traceback, a crash, a
warning beside the line, more memory or time than a case may take, and a lost file are failures.
Cases run in a process of their own, so that a crash is a failure like any other.
"""

import argparse
import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from random import Random

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the tests' helpers

import matplotlib
import torch
from areas import AREAS
from world import LONGEST, SCREEN, Place, make

from dtis_core.errors import DtisError

SECONDS = 20  # a case may take
MEMORY = 2 << 30  # bytes that a process of cases may ask for


class TooLong(BaseException):
    """Its time is over; no handler of other errors catches this."""


def too_long(number: int, frame: object) -> None:
    """End a case."""
    raise TooLong(f"took more than {SECONDS} s")


def run_case(
    seed: int, index: int, base: Path, only: list[str], whole: bool = False
) -> tuple[str, str, str]:
    """Run a case; return its area, "result", "refused" or "failed", and what it was or said.

    Of an error it is one line, or the `whole` traceback.
    """
    rng = Random(f"{seed}-{index}")
    areas = {area: n for area, n in AREAS.items() if not only or area.__name__ in only}
    area = rng.choices([*areas], [*areas.values()])[0]
    with tempfile.TemporaryDirectory(prefix="dtis-fuzz-", ignore_cleanup_errors=True) as outer:
        folder = Path(outer) / "case"
        folder.mkdir()
        os.chdir(folder)
        os.environ["DTIS_CACHE"], os.environ["DTIS_DATA"] = str(folder / "cache"), str(folder)
        try:
            outcome = "result", within_time(area, Place(folder, base, rng))
        except DtisError as error:
            outcome = _refused(str(error))
        except BaseException as error:
            said = " ".join(str(error).split())
            outcome = "failed", f"{type(error).__name__} in {_place_of_error()}: {said:.300}"
            if whole:
                outcome = "failed", traceback.format_exc()
        finally:
            os.chdir("/")
    SCREEN.take()
    return area.__name__, *outcome


def within_time(area, place: Place) -> str:
    """Run an area; code that does not return at all ends the process."""
    faulthandler.dump_traceback_later(SECONDS + 10, exit=True)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return area(place)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()


def _refused(message: str) -> tuple[str, str]:
    """Return how a refusal is judged."""
    written = SCREEN.take()
    if "\n" in message or len(message) > LONGEST:
        return "failed", f"a message of {len(message)} characters: {message[:300]!r}"
    if written:
        return "failed", f"beside its message it wrote {written[:3]}"
    return "refused", message


def _place_of_error() -> str:
    """Return the innermost function of the package that the present exception went through."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    ours = [frame for frame in frames if "/dtis_core/" in frame.filename] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].name}"


def work(seed: int, cases: range, base: Path, only: list[str], answers: int) -> None:
    """Run cases one after the other, and write what became of each as a line of JSON."""
    signal.signal(signal.SIGALRM, too_long)
    statm = Path("/proc/self/statm")  # which Linux alone has, as it alone keeps to the limit
    if statm.exists():
        most = int(statm.read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    warnings.simplefilter("always")
    with SCREEN.watched():
        for index in cases:
            outcome = run_case(seed, index, base, only)
            os.write(answers, json.dumps([index, *outcome]).encode() + b"\n")


def in_another_process(function, *arguments: object) -> tuple[list[list], int]:
    """Return the lines of JSON that a function writes in a forked process, and how that ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        status = 1
        try:
            function(*arguments, writer)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as lines:
        answers = [json.loads(line) for line in lines]
    return answers, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fuzz(seed: int, cases: int, base: Path, only: list[str]) -> list[list]:
    """Run all cases; return [index, area, outcome, detail] of each."""
    outcomes: list[list] = []
    while len(outcomes) < cases:
        rest = range(len(outcomes), cases)
        answers, status = in_another_process(work, seed, rest, base, only)
        outcomes += answers
        if len(outcomes) < cases:
            outcomes.append([len(outcomes), "crash", "failed", f"ended the process ({status})"])
    return outcomes


def report(outcomes: list[list], seed: int, only: list[str]) -> int:
    """Print what became of the cases; return how many failed."""
    counts = Counter((area, outcome) for _, area, outcome, _ in outcomes)
    for area in sorted({area for area, _ in counts}):
        numbers = [f"{counts[area, kind]:6d} {kind}" for kind in ("result", "refused", "failed")]
        print(f"{area:18}{'  '.join(numbers)}")
    failures: dict[tuple, list[list]] = {}
    for index, area, outcome, detail in outcomes:
        if outcome == "failed":
            failures.setdefault((area, detail.split(": ")[0]), []).append([index, detail])
    for (area, _), found in sorted(failures.items(), key=lambda item: -len(item[1])):
        index, detail = found[0]
        print(f"\n{len(found)} times, in {area}: {detail}")
        chosen = " ".join(["", "--only", *only] if only else [])
        print(f"    python tests/fuzz/fuzz.py --seed {seed} --case {index}{chosen}")
    return sum(map(len, failures.values()))


def again(seed: int, index: int, base: Path, only: list[str]) -> int:
    """Run one case in this process, with tracebacks of all errors, and tell what became of it."""
    with SCREEN.watched():
        name, outcome, detail = run_case(seed, index, base, only, whole=True)
    print(f"{name}: {outcome}: {detail}")
    return int(outcome == "failed")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run this one alone")
    parser.add_argument("--only", nargs="+", default=[], metavar="AREA")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    matplotlib.use("Agg")
    started = time.monotonic()
    base = Path(tempfile.mkdtemp(prefix="dtis-fuzz-base-"))
    os.environ["DTIS_CACHE"] = str(base / "cache")
    try:
        status = in_another_process(lambda answers: make(base))[1]
        if status:
            return status
        if arguments.case is not None:
            signal.signal(signal.SIGALRM, too_long)
            return again(arguments.seed, arguments.case, base, arguments.only)
        outcomes = fuzz(arguments.seed, arguments.cases, base, arguments.only)
        failed = report(outcomes, arguments.seed, arguments.only)
        seconds = time.monotonic() - started
        print(f"\n{failed} of {len(outcomes)} cases failed; {seconds:.0f} s")
        return int(failed > 0)
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
