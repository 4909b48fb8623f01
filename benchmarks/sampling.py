"""Cached against naive sampling of an autoregressive model, as a ratio measured in one run.

    python benchmarks/sampling.py                              # 16 pictures of 28x28, 15 blocks of h = 64
    python benchmarks/sampling.py --device cuda --batch 16 256

The naive sampler runs the whole network once for every sub-pixel. All its passes cost the same, so a few are timed and
scaled to all of them; the output says so. The fastest of several repeats counts, for both.
"""

from __future__ import annotations

import argparse
import json
import platform
import time

import torch

import zoo


def seconds(action, device: torch.device) -> float:
    """Wall-clock seconds of one call, waiting for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def naive_seconds(model: zoo.Model, batch: int, passes: int) -> float:
    """Seconds of the naive sampler for one batch, scaled from the fastest of a few of its passes.

    With one thread and with all of them, whichever is faster: on a busy machine threads wait for each other.
    """
    images = torch.randint(0, model.levels, (batch, *model.image_shape), device=model.device)
    threads = torch.get_num_threads()
    times = []
    with torch.inference_mode():
        for count in sorted({1, threads}):
            torch.set_num_threads(count)
            model(images)  # warm-up
            times += [seconds(lambda: model(images), model.device) for _ in range(passes)]
    torch.set_num_threads(threads)
    return min(times) * images[0].numel()


def cached_seconds(model: zoo.Model, batch: int, runs: int) -> float:
    """Seconds of the cached sampler for one batch, the fastest of a few runs."""
    model.sample(batch, batch_size=batch)  # warm-up
    times = [seconds(lambda: model.sample(batch, batch_size=batch), model.device) for _ in range(runs)]
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pixelcnn")
    parser.add_argument("--set", nargs="*", default=["n_layers=15", "width=64", "head_width=32"], metavar="NAME=VALUE")
    parser.add_argument("--image-shape", type=int, nargs=3, default=(1, 28, 28), metavar=("C", "H", "W"))
    parser.add_argument("--batch", type=int, nargs="+", default=[16])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    from zoo import building

    overrides = building.parse(arguments.set)
    torch.manual_seed(0)
    model = zoo.build(arguments.model, image_shape=tuple(arguments.image_shape), **overrides)
    model = model.eval().to(arguments.device)
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{arguments.model} {overrides}, {platform.machine()}, {where}, torch {torch.__version__}")
    for batch in arguments.batch:
        cached = cached_seconds(model, batch, arguments.runs)
        naive = naive_seconds(model, batch, arguments.passes)
        passes = torch.Size(arguments.image_shape).numel()
        print(
            f"batch {batch}: cached {cached:.2f} s ({batch / cached:.1f} images/s), naive {naive:.1f} s "
            f"(scaled from {arguments.passes} of {passes} passes), ratio {naive / cached:.0f}"
        )
        print(json.dumps({"batch": batch, "cached_s": cached, "naive_s": naive, "ratio": naive / cached}))


if __name__ == "__main__":
    main()
