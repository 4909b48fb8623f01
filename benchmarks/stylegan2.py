"""Speed of StyleGAN2 against per-sample weights in grouped convolutions, the form of the paper's code, in one run.

    python benchmarks/stylegan2.py                       # generator of 64x64 pixels, 23.8 M parameters, batch 4
    python benchmarks/stylegan2.py --training --resolution 32 --width-base 2048 --batch 16
    python benchmarks/stylegan2.py --device cuda --precision bf16 --batch 64

The two have the same weights and, which is checked, the same pictures. They take turns, and the median counts. With
--training, images/s of whole updates: the discriminator with lazy R1 and the generator with lazy path length, over as
many updates as the laziest regularisation needs.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch.nn import functional as F

import zoo
from zoo import building
from zoo.cli import memory
from zoo.settings import Settings
from zoo.train.accelerator import make_accelerator

zoo.models()
from zoo_stylegan import stylegan2  # noqa: E402
from zoo_stylegan.layers import fir  # noqa: E402

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def grouped_conv2d(
    x: torch.Tensor, weight: torch.Tensor, style: torch.Tensor, *, demodulate: bool = True, up: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What `modulated_conv2d` computes, by weights for each sample in one grouped convolution."""
    batch, height, width = len(x), *x.shape[2:]
    weights = weight[None] * style[:, None, :, None, None]  # B O I K K
    if demodulate:
        weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    weights = weights.to(x.dtype)
    x = x.reshape(1, -1, height, width)
    if up:
        kernels = weights.transpose(1, 2).flatten(0, 1)  # B I, O K K
        x = F.conv_transpose2d(x, kernels, stride=2, groups=batch)
        x = fir(x.view(batch, -1, *x.shape[2:]), stylegan2.TAPS, (1, 1), gain=4)
    else:
        x = F.conv2d(x, weights.flatten(0, 1), padding=weight.shape[-1] // 2, groups=batch)
        x = x.view(batch, -1, *x.shape[2:])
    return x, x.new_ones(batch, len(weight), dtype=torch.float32) if demodulate else None


def timed(work: Callable[[], object], cuda: bool) -> float:
    begun = time.perf_counter()
    work()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def compare(forms: dict[str, Callable[[], object]], images: int, rounds: int, cuda: bool) -> None:
    """Let the forms take turns and print images/s of each, and the ratio of the first to the last."""
    for work in forms.values():
        timed(work, cuda)
    seconds = {name: [] for name in forms}
    for _ in range(rounds):
        for name, work in forms.items():
            seconds[name].append(timed(work, cuda))
    speeds = {name: images / statistics.median(times) for name, times in seconds.items()}
    for name, speed in speeds.items():
        print(f"{name}: {speed:.2f} images/s")
    ours, theirs = list(speeds.values())
    print(f"ratio {ours / theirs:.2f}")
    print(json.dumps({**speeds, "ratio": ours / theirs}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--width-base", type=int, default=8192)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--training", action="store_true")
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    cuda = arguments.device == "cuda"
    kept = not cuda and memory.keep_freed()  # for both
    torch.manual_seed(0)
    model = zoo.build("stylegan2", resolution=arguments.resolution, width_base=arguments.width_base)
    model.to(arguments.device, memory_format=torch.channels_last)
    where = torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} CPU threads"
    parameters = sum(p.numel() for p in model.generator.parameters()) / 1e6
    print(
        f"generator of {parameters:.1f} M parameters, {arguments.resolution} pixels, batch {arguments.batch}, "
        f"precision {arguments.precision}, {platform.machine()}, {where}, torch {torch.__version__}, "
        f"freed memory kept: {kept}"
    )
    shared, forms = stylegan2.modulated_conv2d, {}

    def with_form(form: Callable[..., object], work: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            stylegan2.modulated_conv2d = form
            try:
                return work()
            finally:
                stylegan2.modulated_conv2d = shared

        return run

    if arguments.training:
        settings = Settings(
            model="stylegan2", data="random", out="", device=arguments.device, precision=arguments.precision,
            batch_size=arguments.batch,
        )  # fmt: skip
        trainer = building.make_trainer(model.spec, model, settings, make_accelerator(settings), {})
        pixels = torch.randint(0, 256, (arguments.batch, *model.image_shape), dtype=torch.uint8)
        batch = {"image": pixels.to(arguments.device)}
        updates = trainer.r1_every

        def work() -> None:
            for number in range(updates):
                trainer.step(batch, number * arguments.batch)

        images = arguments.batch * updates
    else:
        dtype = PRECISIONS[arguments.precision]
        z = torch.randn(arguments.batch, model.latent_size, device=arguments.device)
        noise = model.generator.synthesis.constant_noise

        @torch.no_grad()
        def work() -> torch.Tensor:
            with torch.autocast(arguments.device, dtype) if dtype else nullcontext():
                return model.generator.synthesis(model.styles(z), noise)

        images = arguments.batch
        ours, theirs = with_form(shared, work)(), with_form(grouped_conv2d, work)()
        if not torch.allclose(ours, theirs, atol=(1e-3 if dtype is None else 0.1) * float(ours.abs().max())):
            raise SystemExit("the two draw different pictures")
    forms = {"scaled features": with_form(shared, work), "grouped convolutions": with_form(grouped_conv2d, work)}
    compare(forms, images, arguments.rounds, cuda)


if __name__ == "__main__":
    main()
