"""Where a training step's time goes: the whole step, its encoder, the loss by literal loops.

All are measured in one run, in turn, so that their ratios hold even where seconds do not.
"""

import importlib.util
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from dtis_core import datasets
from dtis_core.bench.shares import shares
from dtis_core.config import load_preset, preset_names
from dtis_core.errors import DtisError
from dtis_core.runs.recorded import shipped_names
from dtis_core.runs.run_folder import RunFolder, commit, device_name
from dtis_core.scenes.run import Run
from dtis_core.scoring.results import shipped_runs
from dtis_core.search.inference import INFERENCES
from dtis_core.training.session import check_device
from dtis_core.training.trainer import Trainer

FAMILIES = ("paper", "fast")
WARM_UP = 2  # calls before timing
SHARED = 3  # steps whose parts are timed
INFERRED = 16  # images that each inference is timed on
Loss = Callable[..., tuple[torch.Tensor, ...]]
"""Of a model, images and noise: the loss of Eq. (5), then what was chosen."""


def timed(function: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call, with the device's queue empty before and after."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def encoder_alone(trainer: Trainer) -> Callable[[], object]:
    """Return a call that runs the encoder forward and backward as often as a step does."""
    config, encoder = trainer.config, trainer.model.predictor.encoder
    residual = config.search.looks == "residual"
    images = trainer.batch()
    inputs = torch.cat([images, images], dim=1) if residual else images
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    passes = config.model.layers if residual else 1

    def call() -> None:
        encoder.zero_grad(set_to_none=True)
        for _ in range(passes):
            encoder(inputs).sum().backward()

    return call


def begin_as_shipped(trainer: Trainer) -> str:
    """Give a trainer the weights of its preset's shipped model; return that one's name, or nothing.

    Where objects are found, layers are as small as these, and so are the windows that candidates
    are rendered in: with initial weights they may be as large as the image.
    """
    for folder in shipped_runs(trainer.config.preset):
        if folder.path.name in shipped_names():
            model = folder.model(str(trainer.device))
            if model.config == trainer.config.model:  # else it gave up sprites
                trainer.model.load_state_dict(model.state_dict())
                return folder.path.name
    return ""


def literal_loss(file: Path) -> Loss:
    """Return the function `oracle_loss` of a Python file: Eq. (5) by loops. Raises DtisError.

    The file may import modules that lie beside it.
    """
    beside = str(file.resolve().parent)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    sys.path.insert(0, beside)
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.oracle_loss
    except (AttributeError, ImportError, OSError, SyntaxError) as error:
        raise DtisError(f"--literal {file}: has no oracle_loss; give tests/oracle.py") from error
    finally:
        sys.path.remove(beside)


def literal_step(trainer: Trainer, loss: Loss) -> Callable[[], object]:
    """Return a call that computes the loss and its gradients literally."""
    images = trainer.batch()
    noise = trainer.model.draw_noise(trainer.noise)
    return lambda: loss(trainer.model, images, noise)[0].backward()


def bench(
    name: str, seconds: float = 20.0, device: str = "cpu", literal: Loss | None = None
) -> list[dict]:
    """Measure a preset; or for a data set's name, such as tetrominoes, all families of presets.

    `literal` is another way to the same loss, timed beside ours. Raises DtisError for an unknown
    name or a time that is not positive.
    """
    if not seconds > 0:
        raise DtisError(f"--seconds: must be above 0, found {seconds}")
    families = [preset for preset in FAMILIES if f"{name}/{preset}" in preset_names()]
    names = [f"{name}/{family}" for family in families] or [name]
    return [bench_preset(preset, seconds, check_device(device), literal) for preset in names]


def bench_preset(preset: str, seconds: float, device: str, literal: Loss | None) -> dict:
    """Return median seconds of a step, its encoder and the literal loss, and their ratios.

    Step and encoder alternate for `seconds`; the literal loss is slow and runs twice, the first
    time to warm up.
    """
    full = ["training.coarse_until=0", "training.quarter_until=0"]  # steps of the full size
    config = load_preset(preset).override(full)
    count = min(config.data.count or 2048, 2048)
    data = datasets.load_for(config, config.data.train_split, count)
    trainer = Trainer(config, data.images, seed=0, device=device)
    # Any step of the run's later part: sprites learn, all transformations are on.
    trainer.step = trainer.length // 2
    weights = begin_as_shipped(trainer)
    encoder = encoder_alone(trainer)
    times: dict[str, list[float]] = {"step": [], "encoder": []}
    begun = time.perf_counter()
    for turn in range(10_000):
        pair = timed(trainer.train_step, trainer.device), timed(encoder, trainer.device)
        if turn >= WARM_UP:
            times["step"].append(pair[0])
            times["encoder"].append(pair[1])
        if turn > WARM_UP and time.perf_counter() - begun > seconds:
            break
    step, alone = median(times["step"]), median(times["encoder"])
    result = {
        "preset": config.preset,
        "batch_size": config.training.batch_size,
        "device": device_name(trainer.device),
        "commit": commit(),
        "weights": weights or "initial",
        "turns": len(times["step"]),
        "step_seconds": step,
        "encoder_seconds": alone,
        "step_over_encoder": step / alone,
        "images_per_second": config.training.batch_size / step,
    }
    result["shares"] = shares(trainer, SHARED)
    result["ms_per_image"] = {name: _inference_ms(trainer, name) for name in INFERENCES}
    result["peak_memory_mib"] = _peak_memory(trainer.device) / 2**20
    if literal:
        call = literal_step(trainer, literal)
        slow = [timed(call, trainer.device) for _ in range(2)][1]
        result |= {"literal_seconds": slow, "literal_over_step": slow / step}
    return result


def _inference_ms(trainer: Trainer, inference: str) -> float:
    """Return the milliseconds an image that an inference takes with the model as it is."""
    config, images = trainer.config, trainer.images[:INFERRED].cpu().numpy()
    run = Run(RunFolder("bench"), config, trainer.model)  # which is not written
    run.decompose(images[:1], inference=inference)
    seconds = timed(lambda: run.decompose(images, inference=inference), trainer.device)
    return 1000 * seconds / len(images)


def _peak_memory(device: torch.device) -> int:
    """Return the most bytes that this process, or its tensors on a GPU, have taken so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # elsewhere it is in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def print_bench(results: list[dict], as_json: bool) -> None:
    """Print measurements as JSON, by preset, or for a person."""
    if as_json:
        print(json.dumps({result["preset"]: result for result in results}))
        return
    for result in results:
        _print_one(result)


def _print_one(result: dict) -> None:
    weights = f"weights: {result['weights']}"
    print(f"{result['preset']}, batch {result['batch_size']}, {result['device']}, {weights}")
    print(f"training step        {result['step_seconds']:8.3f} s")
    print(f"its encoder alone    {result['encoder_seconds']:8.3f} s")
    print(f"step / encoder       {result['step_over_encoder']:8.2f}")
    for name, milliseconds in result["ms_per_image"].items():
        print(f"{name:20} {milliseconds:8.1f} ms an image")
    print(f"peak memory          {result['peak_memory_mib']:8.0f} MiB")
    print("of a step:", ", ".join(f"{k} {v:.0%}" for k, v in result["shares"].items() if v))
    if "literal_seconds" in result:
        print(f"literal loops        {result['literal_seconds']:8.3f} s")
        print(f"literal / step       {result['literal_over_step']:8.1f}")
