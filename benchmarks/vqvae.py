"""VQ-VAE-2: cached against naive sampling of both priors, training steps, and what released weights reach.

    python benchmarks/vqvae.py
    python benchmarks/vqvae.py --weights mnist --data mnist --split test --limit 2000 --sheet reconstructions.png

The first measures random weights: a top prior of 32x32 codes with attention and a bottom prior of 64x64. The naive
sampler runs the whole prior once for every code. All its passes cost the same, so a few are timed and scaled to all of
them; the output says so. Times are CPU seconds of one thread, in which other work on the machine does not count, and
the fastest of several repeats.

The second measures trained weights on held-out pictures: squared error of -1 to 1, how many codes are in use, and the
nats that a prior needs for one code. The sheet shows pictures, each followed by its reconstruction.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import zoo
from zoo import building, media
from zoo.data.tables import load
from zoo.metrics.choice import choose, named
from zoo.nn.draw import draw
from zoo.request import SampleRequest
from zoo.settings import Settings
from zoo.train.accelerator import make_accelerator
from zoo.train.state import channels_last

zoo.models()  # puts plugins/ on the path
from zoo_vqvae.quantise import perplexity  # noqa: E402

SIZES: dict[str, Any] = {
    "image_shape": (3, 256, 256),
    "prior_width": (64, 64),
    "prior_hidden": (64, 64),
    "prior_layers": (8, 8),
    "prior_attention": (4, 0),
    "prior_output": (2, 0),
    "prior_condition": (0, 4),
}


def seconds(action: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    begun = time.process_time()
    action()
    return time.process_time() - begun


def compare_sampling(model: Any, batch: int, runs: int, passes: int) -> None:
    """Both priors, cached and naive in turns."""
    codes = [torch.randint(0, model.codes, (batch, *shape)) for shape in model.code_shapes]
    options = {"temperature": 1.0, "given": None, "given_rows": 0, "method": "cached"}
    for i, (name, prior) in enumerate(zip(model.level_names, model.priors, strict=True)):
        given = {f"upper_{j}": codes[j] for j in range(i)}
        cached, naive = [], []
        with torch.inference_mode():
            for _ in range(runs):
                request = SampleRequest(seed=0, indices=range(batch), device=model.device, options={**options, **given})
                cached.append(seconds(lambda p=prior, r=request: draw(p, r)))
                naive += [seconds(lambda p=prior, x=codes[i][:, None], g=given: p(x, **g)) for _ in range(passes)]
        count = codes[i][0].numel()
        figures = {"cached_s": min(cached), "naive_s": min(naive) * count, "ratio": min(naive) * count / min(cached)}
        height, width = model.code_shapes[i]
        print(
            f"{name} prior, {height}x{width}, {batch} pictures: cached {figures['cached_s']:.2f} s, naive "
            f"{figures['naive_s']:.0f} s (scaled from {passes} of {count} passes), ratio {figures['ratio']:.0f}"
        )
        print(json.dumps({"prior": name, "batch": batch, **figures}), flush=True)


def time_training(batch: int, steps: int, precision: str) -> None:
    """Pictures a second of the autoencoder's step, of the paper's size at 256 pixels with blocks of 32 features."""
    model = zoo.build("vqvae2", **SIZES, residual_width=32)
    settings = Settings(model="vqvae2", data="-", out="-", batch_size=batch, precision=precision, device="cpu")
    accelerator = make_accelerator(settings)
    channels_last(model, accelerator.device)
    recipe = building.schema(model.spec, "recipe").check({"stage": "autoencoder"})
    trainer = building.make_trainer(model.spec, model, settings, accelerator, recipe)
    images = {"image": torch.randint(0, 256, (batch, *model.image_shape), dtype=torch.uint8)}
    trainer.step(images, 0)
    best = min(seconds(lambda: trainer.step(images, 0)) for _ in range(steps))
    print(f"autoencoder at 256 pixels, {precision}, batch {batch}: {best:.3f} s a step, {batch / best:.2f} images/s")


@torch.no_grad()
def measure(model: Any, data: str, split: str, limit: int | None, batch_size: int) -> dict[str, Any]:
    """What weights reach on the pictures of a split."""
    examples = load(data, split, model.batch_shapes)
    chosen = choose(len(examples), limit, 0)
    error, nats, maps = 0.0, torch.zeros(len(model.code_shapes)), []
    for first in range(0, len(chosen), batch_size):
        batch = examples.batch(chosen[first : first + batch_size])
        codes = model.encode(batch["image"])
        error += float((model.decode(codes).float() - batch["image"]).div(127.5).square().mean((1, 2, 3)).sum())
        nats -= model.code_log_prob(codes, batch.get("label") if model.classes else None).sum(0)
        maps.append(codes)
    found: dict[str, Any] = {
        "data": data,
        "split": named(split, len(chosen), len(examples), 0),
        "mse": error / len(chosen),
    }
    for i, name in enumerate(model.level_names):
        level = torch.cat([codes[i] for codes in maps])
        found[f"{name}_perplexity"] = float(perplexity(level, model.codes))
        found[f"{name}_nats_per_code"] = float(nats[i]) / level.numel()
    return found


def write_sheet(model: Any, data: str, split: str, path: Path) -> None:
    """32 pictures of a split, each followed by what its codes keep of it."""
    examples = load(data, split, model.batch_shapes)
    images = examples.batch(choose(len(examples), min(32, len(examples)), 0))["image"]
    media.write_image(
        media.grid(media.beside_conditions(model.reconstruct(images), images, 1), columns=8), path, scale=1
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="measure these weights, on --data")
    parser.add_argument("--data")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--sheet", type=Path, help="also write pictures beside their reconstructions")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", default="fp32")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.weights:
        model = zoo.load("vqvae2", weights=arguments.weights, device="cpu")
        if arguments.sheet:
            write_sheet(model, arguments.data, arguments.split, arguments.sheet)
        print(json.dumps(measure(model, arguments.data, arguments.split, arguments.limit, 64), indent=2))
        return
    torch.manual_seed(0)
    print(f"{platform.machine()}, torch {torch.__version__}, {SIZES}")
    compare_sampling(zoo.build("vqvae2", **SIZES).eval(), arguments.batch, arguments.runs, arguments.passes)
    time_training(arguments.batch // 4 or 1, arguments.steps, arguments.precision)


if __name__ == "__main__":
    main()
