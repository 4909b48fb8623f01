"""Clips a second of the GANs of clips, in sampling and in training, and how streaming grows with its frames (Linux).

    python benchmarks/video.py --threads 2
    python benchmarks/video.py --model dvdgan --preset lpc_sprites32 --batch 16

Random weights and made-up clips: speed depends on neither. The second table shows, for models whose clips may have any
length, that the time grows with the frames and the memory does not.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch

import zoo
from zoo import building
from zoo.settings import Settings
from zoo.train.accelerator import make_accelerator
from zoo.train.planning import build, recipe
from zoo.train.state import channels_last

LENGTHS = (16, 32, 64, 128)


def rate(work: Callable[[], object], count: int, seconds: float) -> float:
    """Examples a second; the first call warms up."""
    work()
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        work()
        done += count
    return done / (time.perf_counter() - begun)


def in_use() -> float:
    """Memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def training_rate(name: str, preset: str, batch: int, precision: str, seconds: float) -> float:
    """Clips a second of training steps."""
    settings = Settings(
        model=name, data="-", out="-", preset=preset, batch_size=batch, precision=precision, device="cpu"
    )
    accelerator = make_accelerator(settings)
    spec, model = build(settings, "cpu")
    channels_last(model, accelerator.device)
    trainer = building.make_trainer(spec, model, settings, accelerator, recipe(settings))
    clips = {
        key: torch.randint(0, 256, (batch, *shape), dtype=torch.uint8)
        if shape
        else torch.zeros(batch, dtype=torch.long)
        for key, shape in model.batch_shapes.items()
    }
    return rate(lambda: trainer.step(clips, 0), batch, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="*")
    parser.add_argument("--preset", default="lpc_sprites32")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    specs = [spec for spec in zoo.models() if spec.task == "video-generation" and options.preset in spec.presets]
    names = options.model or [spec.name for spec in specs]
    print(f"{options.preset}, batch {options.batch}, {options.precision}, {options.threads} threads")
    print(f"{'model':10} {'generator':>10} {'sampling':>12} {'training':>12}")
    growing = []
    for name in names:
        model = zoo.build(name, preset=options.preset).released().eval()
        drawn = rate(lambda model=model: model.sample(options.batch), options.batch, options.seconds)
        trained = training_rate(name, options.preset, options.batch, options.precision, options.seconds)
        parameters = sum(p.numel() for p in model.parameters())
        print(f"{name:10} {parameters:>10,} {drawn:>8.1f} c/s {trained:>8.1f} c/s", flush=True)
        try:
            model.sample(1, frames=model.frames + 1)
            growing.append((name, model))
        except zoo.ZooError:
            continue
    print("\nprocessor time of a stream")
    print(f"{'model':10}" + "".join(f"{t:>6} frames" for t in LENGTHS) + "  MiB more in the last")
    for name, model in growing:
        seconds, peaks = [], []
        for _ in model.stream(1, frames=LENGTHS[0]):  # warms up
            pass
        for frames in LENGTHS:
            begun, peak = time.process_time(), 0.0
            for _ in model.stream(1, frames=frames):
                peak = max(peak, in_use())
            seconds.append(time.process_time() - begun)
            peaks.append(peak)
        print(f"{name:10}" + "".join(f"{s:>11.2f} s" for s in seconds) + f"  {peaks[-1] - peaks[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
