"""The `dtis` command: what notebooks and scripts repeat."""

import argparse
import json
import sys

from dtis_core.baselines.command import add_methods
from dtis_core.errors import DtisError, NoLabels
from dtis_core.paths import RUNS, user_path
from dtis_core.rendering.command import add_arguments as add_render_arguments


def train(arguments: argparse.Namespace) -> int:
    """`dtis train PRESET`: train into a run folder, then score validation images."""
    from dtis_core import datasets
    from dtis_core.config import load_preset
    from dtis_core.scoring.score import score_each
    from dtis_core.training.ranks import first_rank
    from dtis_core.training.session import train

    config = load_preset(arguments.preset).override(arguments.set)
    datasets.load_for(config, config.data.score_split, 1)  # or else it would fail at the very end
    out = arguments.out
    if out is None:
        out = RUNS / f"{config.preset.replace('/', '-')}-{arguments.seed}"
    if first_rank():
        print(f"training {config.preset} with seed {arguments.seed} in {out}", flush=True)
    folder = train(
        config,
        out,
        seed=arguments.seed,
        device=arguments.device,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        max_steps=arguments.max_steps,
        checkpoint_seconds=arguments.checkpoint_seconds,
    )
    status = folder.manifest()["status"]
    if not first_rank():
        return 130 if status == "interrupted" else 0
    print(f"{status} at step {folder.manifest()['step']}: {out}")
    if status in ("finished", "stopped"):
        try:
            for scores in score_each(folder.path):
                print_scores(scores, as_json=False)
        except NoLabels as error:
            print(f"not scored: {error}")
    return 130 if status == "interrupted" else 0


def evaluate(arguments: argparse.Namespace) -> int:
    """`dtis eval RUN`: score a run folder or a shipped model."""
    from dtis_core.scoring.score import score

    scores = score(
        arguments.run,
        arguments.split,
        arguments.data,
        arguments.path,
        arguments.set,
        arguments.inference,
    )
    print_scores(scores, arguments.json)
    return 0


def keep(arguments: argparse.Namespace) -> int:
    """`dtis keep RUN`: keep what a run finds in its images, to be shown where they are not."""
    from dtis_core.scoring.keep import keep

    chosen = arguments.split, arguments.data, arguments.path, arguments.count
    print(f"kept: {keep(arguments.run, *chosen)}")
    return 0


def sweep(arguments: argparse.Namespace) -> int:
    """`dtis sweep PRESET...`: train and score a grid of presets, settings and seeds."""
    from dtis_core.sweeps.grid import grid, seeds_of

    tasks = grid(arguments.presets, seeds_of(arguments.seeds), arguments.set)
    out = user_path(arguments.out or RUNS / "sweep", "--out").absolute()
    if arguments.dry_run:
        from dtis_core.sweeps.estimate import print_estimates

        print_estimates(tasks, arguments.jobs)
        return 0
    from dtis_core.sweeps.progress import Progress
    from dtis_core.sweeps.sweep import sweep

    progress = Progress(out, tasks)
    try:
        rows = sweep(tasks, out, arguments.jobs, arguments.scheduler, progress)
    except KeyboardInterrupt:
        print("dtis: interrupted; the same command goes on", file=sys.stderr)
        return 130
    finally:
        progress.close()
    failed = sum(bool(row["error"]) for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} runs finished: see {out / 'results.csv'}")
    return 1 if failed else 0


def export(arguments: argparse.Namespace) -> int:
    """`dtis export RUN FOLDER`: copy what using and checking a run needs."""
    from dtis_core.runs.run_folder import RunFolder

    folder = RunFolder(arguments.run).export(
        arguments.folder, half=not arguments.full, snapshots=arguments.snapshots
    )
    print(f"exported to {folder.path}; score it with: dtis eval {folder.path}")
    return 0


def print_scores(scores: dict, as_json: bool) -> None:
    """Print scores for a person, in percent, or as JSON, in fractions."""
    from dtis_core.scoring.evaluation import SCORES
    from dtis_core.scoring.papers_rule import SUFFIX

    if as_json:
        print(json.dumps(scores))
        return
    shown = {name: f"{100 * scores[name]:.2f}" for name in SCORES if name in scores}
    for name, ours in shown.items():
        papers = f"{100 * scores.get(name + SUFFIX, scores[name]):.2f}"
        shown[name] += "" if papers == ours else f" ({papers} by the paper's rule)"
    line = "  ".join(f"{name} {score}" for name, score in shown.items())
    how = f"{scores['split']}, {scores['inference']}, {scores['ms_per_image']:.0f} ms each"
    print(f"{scores['data']}, {scores['images']} images ({how}): {line}")
    if readings := scores.get("readings"):
        units = {"centre": "pixels", "scale": "percent", "angle": "degrees"}
        off = [f"{name} {readings[name]:.2f} {units[name]}" for name in units if name in readings]
        found = f"{100 * readings['found']:.0f} % of layers found"
        medians = f"; off by {', '.join(off)} (medians)" if off else ""
        print(f"in scenes composed of its own sprites: {found}{medians}")


def results(arguments: argparse.Namespace) -> int:
    """`dtis results`: print what the shipped runs reached, beside the paper; or put it in pages."""
    from dtis_core.scoring.results import markdown, result_table, short_table, split_table
    from dtis_core.workbook.result_pages import write_pages

    if arguments.write:
        print("\n".join(f"{name} written" for name in write_pages()) or "all are up to date")
        return 0
    table = short_table if arguments.short else split_table if arguments.splits else result_table
    print(markdown(table()))
    return 0


def figures(arguments: argparse.Namespace) -> int:
    """`dtis figures`: execute the notebooks and write all figures."""
    from dtis_core.workbook.runner import parse_assignments, run_workbook

    return run_workbook(
        only=arguments.only,
        jobs=arguments.jobs,
        parameters={"profile": arguments.profile} | parse_assignments(arguments.set),
        force=arguments.force,
    )


def data(arguments: argparse.Namespace) -> int:
    """`dtis data PRESET`: load or generate a preset's data and say what it is."""
    from dtis_core import datasets
    from dtis_core.config import load_preset

    config = load_preset(arguments.preset).override(arguments.set)
    wanted = config.data
    splits = {wanted.train_split: wanted.count, wanted.score_split: wanted.held_out}
    for split, count in splits.items():
        loaded = datasets.load_for(config, split, count)
        print(f"{split}: {loaded.name}, {loaded.images.shape}, fingerprint {loaded.fingerprint}")
    return 0


def render(arguments: argparse.Namespace) -> int:
    """`dtis render clevr`: render scenes as CLEVR's, with masks, for want of the official ones."""
    from dtis_core.rendering.command import run

    run(arguments)
    return 0


def bench(arguments: argparse.Namespace) -> int:
    """`dtis bench NAME`: time a training step beside its encoder; or the sliders, or the scale."""
    if arguments.preset == "sliders":
        from dtis_core.bench.sliders import bench_sliders, print_sliders

        print_sliders(bench_sliders(arguments.seconds), arguments.json)
        return 0
    if arguments.preset == "scale":
        from dtis_core.bench.scale import bench_scale, print_scale

        rows = bench_scale()
        print(json.dumps(rows)) if arguments.json else print_scale(rows)
        return 0
    from dtis_core.bench.step import bench, literal_loss, print_bench

    file = arguments.literal
    literal = None if file is None else literal_loss(user_path(file, "--literal"))
    results = bench(arguments.preset, arguments.seconds, arguments.device, literal)
    print_bench(results, arguments.json)
    return 0


def baseline(arguments: argparse.Namespace) -> int:
    """`dtis baseline METHOD PRESET`: run a rival on the images of a preset."""
    from dtis_core.baselines.command import run

    return 130 if run(arguments) == "interrupted" else 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="dtis", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, function) -> argparse.ArgumentParser:
        text = function.__doc__.split(": ", 1)[1]
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        return sub

    _add_training_arguments(command("train", train))

    _add_sweep_arguments(command("sweep", sweep))

    sub = command("eval", evaluate)
    _add_images_arguments(sub)
    sub.add_argument(
        "--inference",
        default="best",
        help="one-look, the paper's, or best, which searches as the run's settings say (default)",
    )
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.FIELD=VALUE",
        help="another way to seek scenes, such as search.views=1",
    )
    sub.add_argument("--json", action="store_true")

    sub = command("keep", keep)
    _add_images_arguments(sub)
    sub.add_argument("--count", type=int, default=64, help="scenes, of the first images (64)")

    sub = command("export", export)
    sub.add_argument("run", help="run folder")
    sub.add_argument("folder", help="new folder")
    sub.add_argument("--full", action="store_true", help="weights in single precision, not half")
    sub.add_argument("--snapshots", type=int, default=40, help="pictures of the sprites at most")

    _add_tables(command("results", results))

    sub = command("figures", figures)
    sub.add_argument("--profile", default="quick", choices=["quick", "paper"])
    sub.add_argument("--only", nargs="+", metavar="NOTEBOOK", help="names or numbers, such as 05")
    sub.add_argument("--jobs", type=int, help="notebooks at a time; one for each core by default")
    sub.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    sub.add_argument("--force", action="store_true", help="rerun what is up to date, too")

    sub = command("data", data)
    sub.add_argument("preset")
    sub.add_argument("--set", action="append", default=[], metavar="data.FIELD=VALUE")

    add_render_arguments(command("render", render))
    add_methods(command("baseline", baseline))

    sub = command("bench", bench)
    sub.add_argument(
        "preset", help="such as tetrominoes/paper; tetrominoes, all families; sliders; scale"
    )
    sub.add_argument("--seconds", type=float, default=20.0, help="time per measurement")
    sub.add_argument("--device", default="cpu")
    sub.add_argument("--literal", metavar="FILE", help="loops to compare with: tests/oracle.py")
    sub.add_argument("--json", action="store_true")
    return parser


def _add_tables(parser: argparse.ArgumentParser) -> None:
    """Add which table is printed, if not the whole one; or that all are written into pages."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--short", action="store_true", help="one score of each data set")
    which.add_argument("--splits", action="store_true", help="on images kept for the end, too")
    which.add_argument("--write", action="store_true", help="put all into README and docs/results")


def _add_images_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="run folder or shipped model")
    parser.add_argument("--data", help="another data set than the run's own")
    parser.add_argument("--path", help="the folder of another data set that is anyone's own")
    parser.add_argument(
        "--split", help="such as validation, final or train (default: as the preset says)"
    )


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preset", help="such as tetrominoes (fast) or tetrominoes/paper")
    parser.add_argument("--out", help="run folder (default: runs/PRESET-SEED)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-steps", type=int, help="stop there; --resume goes on")
    parser.add_argument("--checkpoint-seconds", type=float, default=45.0, help="time between two")
    former = parser.add_mutually_exclusive_group()
    former.add_argument("--resume", action="store_true", help="continue the run in --out")
    former.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")


def _add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("presets", nargs="+", metavar="PRESET")
    parser.add_argument("--seeds", default="0", help="such as 0-4,7 (default: 0)")
    parser.add_argument("--out", help="folder of the run folders and results.csv (runs/sweep)")
    parser.add_argument("--jobs", type=int, help="runs at a time; one for each core by default")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a running Dask scheduler")
    parser.add_argument("--dry-run", action="store_true", help="list runs and about how long each")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.FIELD=VALUE,...",
        help="a setting, or several values of it to try, such as model.sprites=10,13,16",
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; a user's error is one line and exit status 2."""
    arguments = build_parser().parse_args(argv)
    from dtis_core.storage.files import system_errors_explained

    try:
        with system_errors_explained("dtis"):
            return arguments.function(arguments)
    except DtisError as error:
        print(f"dtis: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if "memory" not in f"{type(error).__name__} {error}".lower():  # torch has no type for it
            raise
        advice = "lower training.batch_size, model.image_size, model.sprites or data.count"
        print(f"dtis: there is not enough memory for this; {advice}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dtis: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
