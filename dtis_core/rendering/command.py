"""`dtis render clevr`: its arguments, and what it prints."""

import argparse

from dtis_core.paths import data_root, user_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("scenes", choices=["clevr"])
    parser.add_argument("--out", help="folder (clevr6_rendered, where the data lie)")
    for split, count in {"train": 2000, "validation": 320, "final": 320}.items():
        parser.add_argument(f"--{split}", type=int, default=count, help=f"scenes ({count})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, help="processes; one for each core by default")
    parser.add_argument("--objects", default="3-6", metavar="A-B", help="in a scene (3-6)")
    parser.add_argument("--size", type=int, default=128, help="of the images, in pixels (128)")


def run(arguments: argparse.Namespace) -> None:
    """Render what is still missing of the folder."""
    from dtis_core.rendering.folder import render_folder
    from dtis_core.rendering.order import SPLITS, Order, numbers_of

    counts = {split: getattr(arguments, split) for split in SPLITS}
    order = Order(counts, arguments.seed, numbers_of(arguments.objects), arguments.size)
    out = user_path(arguments.out or data_root() / "clevr6_rendered", "--out")
    render_folder(order, out, arguments.jobs)
    print(f"{sum(counts.values())} scenes in {out}, for 'clevr6-rendered'")
