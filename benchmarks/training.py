"""Training speed of every model, and of the Diagonal BiLSTM against the plain loop over columns, measured in one run.

    python benchmarks/training.py                        # preset binarized_mnist, 16 pictures a step
    python benchmarks/training.py --precision fp32 bf16  # side by side
    python benchmarks/training.py --device cuda --batch 128 --precision bf16
    python benchmarks/training.py --decoding             # JPEG files of 64x64, read ahead of the step or in it
    python benchmarks/training.py --beside --models gated_pixelcnn --preset mnist  # a thread that has read, and waits

A step is all that training does: forward, backward, clipping, Adam. In the plain loop, as the paper tells it, each
direction is skewed into a padded map of W + H - 1 columns, and a 2x1 convolution goes from column to column; the
weights are the same, and so is the result, which is checked. Ours takes both directions in one product a diagonal
and computes no padding. The steps of the two take turns, and the median counts.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

import zoo
from zoo import building, registry
from zoo.data import Shuffled, load
from zoo.data.ahead import Ahead
from zoo.data.threads import alone
from zoo.settings import Settings
from zoo.train.accelerator import make_accelerator

ABILITIES = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16")
PLAIN = "diagonal_bilstm, plain loop"


def plain_states(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """One direction of a Diagonal BiLSTM (arXiv 1601.06759, section 3.2) of one colour channel, column by column.

    Args:
        x: what the input adds to the gates, (B, 4h, H, W).
        kernel: (2h, 4h), for the state above and the one beside.

    Returns:
        (B, h, H, W).
    """
    batch, features, height, width = x.shape
    above, beside = kernel.T.chunk(2, 1)
    weight = torch.stack((above, beside), 2)  # 4h h 2
    columns = height + width - 1
    # Row i moves i columns to the right: rows of `columns` + 1, read as rows of `columns`.
    skewed = F.pad(x, (0, height)).flatten(2)[:, :, : height * columns].unflatten(2, (height, columns))
    inside = F.pad(x.new_ones(height, width), (0, height)).flatten()[: height * columns].view(height, columns)
    h = c = x.new_zeros(batch, features // 4, height)
    states = []
    for column in range(columns):
        gates = skewed[:, :, :, column] + F.conv1d(F.pad(h, (1, 0)), weight)
        o, f, i, g = gates.chunk(4, 1)
        # Outside the picture the state is zero, as it is before the first pixel of a row.
        c = (f.sigmoid() * c + i.sigmoid() * g.tanh()) * inside[:, column]
        h = o.sigmoid() * c.tanh()
        states.append(h)
    unskewed = F.pad(torch.stack(states, 3).flatten(2), (0, height)).unflatten(2, (height, columns + 1))
    return unskewed[:, :, :, :width]


def plain_forward(layer, x: torch.Tensor, pixels: torch.Tensor, skew) -> torch.Tensor:
    """A `DiagonalLayer` by the plain loop, once for each direction."""
    left, right = layer.input_to_left(x), layer.input_to_right(x)
    if layer.pixel_to_right is not None:
        right = right + layer.pixel_to_right(pixels)
    left = plain_states(left, layer.state_to_state[0])
    right = plain_states(right.flip(3), layer.state_to_state[1]).flip(3)
    return x + layer.lift(left + F.pad(right, (0, 0, 1, 0))[:, :, :-1])


class Run:
    """One model, its trainer, and the seconds of its steps."""

    def __init__(self, name: str, precision: str, arguments: argparse.Namespace) -> None:
        spec = registry.model_spec("diagonal_bilstm" if name == PLAIN else name)
        torch.manual_seed(0)
        model = zoo.build(spec.name, preset=arguments.preset)
        if name == PLAIN:
            for layer in model.layers:
                layer.forward = types.MethodType(plain_forward, layer)
        settings = Settings(model=spec.name, data="random", out="", device=arguments.device, precision=precision)
        self.trainer = building.make_trainer(spec, model, settings, make_accelerator(settings), {})
        images = torch.randint(0, 256, (arguments.batch, *model.image_shape), dtype=torch.uint8)
        labels = torch.arange(arguments.batch) % 10
        self.batch = {"image": images.to(arguments.device), "label": labels.to(arguments.device)}
        self.name, self.precision, self.seconds, self.cuda = name, precision, [], arguments.device == "cuda"
        self.losses = [float(next(iter(self.step().values()))) for _ in range(2)]  # warm-up

    def step(self) -> dict[str, torch.Tensor]:
        begun = time.perf_counter()
        metrics = self.trainer.step(self.batch, 0)
        if self.cuda:
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - begun)
        return metrics


def decoding(batch: int, rounds: int) -> None:
    """Training on a folder of JPEG files too large for the memory, with the next batches read ahead and without."""
    with tempfile.TemporaryDirectory() as folder, mock.patch("zoo.data.examples.MEMORY_LIMIT", 0):
        for i in range(1024):
            noise = np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(noise).resize((64, 64)).save(Path(folder) / f"{i}.jpg", quality=90)
        feeds = {"in the step": Shuffled(load(folder, "train", (3, 64, 64)), 0)}
        feeds["ahead of it"] = Ahead(Shuffled(load(folder, "train", (3, 64, 64)), 0), step=batch)
        spec = registry.model_spec("pixelcnn")
        model = zoo.build("pixelcnn", "tiny", image_shape=(3, 64, 64))
        settings = Settings(model="pixelcnn", data=folder, out="", device="cpu")
        trainer = building.make_trainer(spec, model, settings, make_accelerator(settings), {})
        seconds = {name: [] for name in feeds}
        for number in range(rounds):
            for name, feed in feeds.items():
                begun = time.perf_counter()
                for i in range(10):
                    trainer.step(feed.take((10 * number + i) * batch, batch), 0)
                seconds[name].append(time.perf_counter() - begun)
        feeds["ahead of it"].close()
    for name, times in seconds.items():
        print(f"pictures decoded {name}: {10 * batch / statistics.median(times):.1f} images/s")


def beside(run: Run, steps: int) -> None:
    """Steps beside a thread that has computed and now waits, with and without OpenMP threads of its own."""
    large = torch.ones(2**20)
    begin = {"no thread": None, "a thread with its team": torch.get_num_threads, "a thread alone": alone}
    seconds = {name: [] for name in begin}
    for _ in range(3):
        for name, initializer in begin.items():
            with ThreadPoolExecutor(1, initializer=initializer) as pool:
                if initializer is not None:
                    pool.submit(large.add, 1).result()
                run.step()
                run.seconds.clear()
                for _ in range(steps):
                    run.step()
            seconds[name] += run.seconds
    for name, times in seconds.items():
        slower = statistics.median(times) / statistics.median(seconds["no thread"])
        print(f"{run.name} beside {name}: {slower:.2f} times the time")
        print(json.dumps({"model": run.name, "beside": name, "times": slower}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", help="default: all that have the preset")
    parser.add_argument("--preset", default="binarized_mnist")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", nargs="+", default=["fp32"])
    parser.add_argument("--decoding", action="store_true", help="only what reading ahead brings")
    parser.add_argument("--beside", action="store_true", help="only what a thread that waits costs")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    can = [name for name in ABILITIES if getattr(torch.cpu, "get_capabilities", dict)().get(name)]
    if arguments.decoding:
        print(f"batch {arguments.batch}, {torch.get_num_threads()} CPU threads, {', '.join(can)}")
        decoding(arguments.batch, arguments.steps)
        return
    names = arguments.models or [spec.name for spec in zoo.models() if arguments.preset in spec.presets]
    where = (
        torch.cuda.get_device_name()
        if arguments.device == "cuda"
        else f"{torch.get_num_threads()} CPU threads ({', '.join(can)})"
    )
    print(
        f"preset {arguments.preset}, batch {arguments.batch}, {platform.machine()}, {where}, torch {torch.__version__}"
    )
    for name in names:
        if arguments.beside:
            beside(Run(name, arguments.precision[0], arguments), arguments.steps)
            continue
        runs = [Run(name, precision, arguments) for precision in arguments.precision]
        if name == "diagonal_bilstm":
            runs.insert(1, Run(PLAIN, arguments.precision[0], arguments))
        for run in runs:
            run.seconds.clear()
        for _ in range(arguments.steps):
            for run in runs:
                run.step()
        for run in runs:
            speed = arguments.batch / statistics.median(run.seconds)
            times = statistics.median(runs[0].seconds) / statistics.median(run.seconds)
            print(f"{run.name}, {run.precision}: {speed:.1f} images/s, {times:.2f} times the first")
            print(json.dumps({"model": run.name, "precision": run.precision, "images_per_second": speed}))
        if name == "diagonal_bilstm":
            ours, plain = runs[:2]
            for a, b in zip(ours.losses, plain.losses, strict=True):
                if abs(a - b) > 1e-3 * abs(a):
                    raise SystemExit(f"the two differ: losses {ours.losses} and {plain.losses}")
            ratio = statistics.median(plain.seconds) / statistics.median(ours.seconds)
            print(f"diagonal_bilstm against the plain loop: {ratio:.2f} times")
            print(json.dumps({"ratio": ratio}))


if __name__ == "__main__":
    main()
