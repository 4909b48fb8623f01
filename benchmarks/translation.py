"""How fast models draw from conditions: images/s of training and sampling, and frames/s of a long stream.

    python benchmarks/translation.py                                        # all translation models, preset tiny
    python benchmarks/translation.py --model pix2pix --preset facades       # 256x256, batch 1
    python benchmarks/translation.py --model everybody_dance_now --preset mocap_figure64 --frames 300

Of a stream the first and the last fifth of the frames are timed apart, and the memory that the process has gained in
between is told: a model that keeps its past would slow down and grow. The fastest of several repeats counts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import zoo
from zoo import building
from zoo.settings import Settings
from zoo.testing.kit import random_batch
from zoo.train.accelerator import make_accelerator

TASKS = ("image-translation", "video-translation")


def fastest(action: Callable[[], Any], repeats: int) -> float:
    """Seconds of one call, after one to warm up."""
    action()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return min(times)


def training(model: Any, preset: str, batch_size: int, repeats: int) -> float:
    """Examples (pictures, or windows of clips) a second."""
    settings = Settings(model=model.spec.name, data="-", out="", batch_size=batch_size, device="cpu")
    recipe = model.spec.preset(preset).recipe
    trainer = building.make_trainer(model.spec, model, settings, make_accelerator(settings), recipe)
    batch = random_batch(model, batch_size)
    model.train()
    return batch_size / fastest(lambda: trainer.step(batch, 0), repeats)


def sampling(model: Any, repeats: int) -> float:
    """Pictures a second, one at a time; of clips, frames."""
    options = model.examples(1)
    count = model.sample(1, **options).flatten(0, -4).shape[0]
    return count / fastest(lambda: model.sample(1, **options), repeats)


def resident() -> float:
    """MiB of the process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def streaming(model: Any, frames: int) -> dict[str, float]:
    """Frames a second of the first and of the last fifth of a stream, and MiB gained between them."""
    options = model.examples(1)
    clips = {name: value[0] for name, value in options.items() if getattr(value, "ndim", 0) == 5}

    fifth = max(frames // 5, 1)
    times, memory = [], []
    endless: dict[str, Iterator[torch.Tensor]] = {name: itertools.cycle(clip) for name, clip in clips.items()}
    for _ in model.stream(1, frames=frames, **{**options, **endless}):
        times.append(time.perf_counter())
        memory.append(resident())
    first, last = times[fifth] - times[0], times[-1] - times[-1 - fifth]
    return {"first": fifth / first, "last": fifth / last, "mib_gained": memory[-1] - memory[fifth]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="all translation models without it")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--batch-size", type=int, help="the preset's without it, else 1")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    names = [args.model] if args.model else [spec.name for spec in zoo.models() if spec.task in TASKS]
    for name in names:
        torch.manual_seed(0)
        model: Any = zoo.build(name, preset=args.preset)
        size = args.batch_size or model.spec.preset(args.preset).settings.get("batch_size", 1)
        rates = {
            "train": training(model, args.preset, size, args.repeats),
            "sample": sampling(model.eval(), args.repeats),
        }
        if model.spec.is_video:
            rates |= streaming(model, args.frames)
        setting = {"model": name, "preset": args.preset, "batch_size": size, "threads": args.threads}
        machine = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__}
        print(json.dumps({**setting, **{key: round(value, 2) for key, value in rates.items()}, **machine}))


if __name__ == "__main__":
    main()
