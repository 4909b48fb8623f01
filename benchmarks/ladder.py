"""The ladders of StyleGAN and StyleGAN2, row by row on equal terms: same data, pictures seen, widths, batch and seed.

    python benchmarks/ladder.py --data cifar10 --features benchmarks/features/cifar10.pt --out runs/ladder
    python benchmarks/ladder.py --rows stylegan:EF stylegan2:F --examples 100000

Prints one table in Markdown, as `docs/ladder.md` has it: the paper's FID (FFHQ, 1024 pixels; with `--wgan-gp` of
StyleGAN that of CelebA-HQ, where all of its rows have that loss) beside the `fd` of our row. Rows that are done are not
trained again, a row that was stopped goes on: several short calls do as well as one.

What follows the resolution and the length of the runs and not the row: networks that grow pass a resolution every
`examples`/8 pictures, half of them fading, so that most of the run is left for the last one; R1 has the weight
`--r1-gamma` in every row that has it, since the papers' weights are for 1024 pixels; `--learning-rate` and
`--mapping-layers` are those of all rows; row F of StyleGAN2 has twice the `--width-base`, as in the paper, so that its
highest resolution has twice the features. Row A of StyleGAN2 is row F of StyleGAN with the logistic loss, to the last
bit.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import runs

import zoo
from zoo import hub, metrics, registry
from zoo.settings import Settings


def settings_of(model: str, row: str, arguments: argparse.Namespace) -> Settings:
    preset = registry.model_spec(model).presets[row]
    overrides = {
        "resolution": arguments.resolution,
        "width_base": arguments.width_base * preset.model.get("width_base", 8192) // 8192,
        "width_max": arguments.width_max,
        "latent_size": arguments.width_max,
        "w_size": arguments.width_max,
        "stable_images": arguments.examples // 16,
        "fade_images": arguments.examples // 16,
    }
    if preset.model.get("mapping_layers", 8):
        overrides["mapping_layers"] = arguments.mapping_layers
    recipe: dict[str, Any] = {"r1_gamma": arguments.r1_gamma} if preset.recipe.get("r1_gamma", 10.0) else {}
    if wgan_gp(model, arguments):
        recipe = {"loss": "wgan-gp"}
    if arguments.learning_rate:
        recipe["learning_rate"] = arguments.learning_rate
    return Settings(
        model=model,
        data=arguments.data,
        preset=row,
        overrides=overrides,
        recipe=recipe,
        out=str(Path(arguments.out) / f"{model}-{row}"),
        examples=arguments.examples,
        batch_size=arguments.batch,
        precision=arguments.precision,
        device=arguments.device,
        checkpoint_every=20_000,
        sample_every=arguments.examples // 10,
    )


def wgan_gp(model: str, arguments: argparse.Namespace) -> bool:
    return model == "stylegan" and arguments.wgan_gp


def measured(settings: Settings, arguments: argparse.Namespace) -> float:
    """`fd` of a row, trained first as far as it is not."""
    folder = Path(settings.out)
    result = folder / "fd.json"
    runs.check(settings)
    if not result.is_file():
        runs.train(settings)
        device = "cuda" if arguments.device == "cuda" else "cpu"
        (receipt,) = metrics.evaluate(
            hub.load(settings.model, weights=str(folder), device=device),
            data=settings.data,
            split="train",
            metrics=["fd"],
            features=arguments.features,
            count=arguments.count,
        )
        result.write_text(json.dumps(receipt, indent=2))
    return float(json.loads(result.read_text())["value"])


def check(arguments: argparse.Namespace) -> None:
    """End the program if widths would make two rows one."""
    highest = arguments.resolution.bit_length() - 1
    if arguments.width_base // 2 ** (highest - 1) >= arguments.width_max:
        raise SystemExit(
            f"row F would be no wider than row E: with --width-base {arguments.width_base} all layers have "
            f"--width-max {arguments.width_max} features at {arguments.resolution} pixels; take a lower base"
        )


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=["stylegan:ABCDEF", "stylegan2:ABCDEF"], metavar="MODEL:ROWS")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--features", default="benchmarks/features/cifar10.pt")
    parser.add_argument("--count", type=int, default=50_000, help="samples, and real pictures, to measure on")
    parser.add_argument("--examples", type=int, default=1_000_000, help="pictures that each row is trained on")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--width-base", type=int, default=1024)
    parser.add_argument("--width-max", type=int, default=128)
    parser.add_argument("--mapping-layers", type=int, default=8, help="of rows that have a mapping network")
    parser.add_argument("--learning-rate", type=float, help="of all rows; default as in the papers")
    parser.add_argument("--r1-gamma", type=float, default=0.1)
    parser.add_argument("--wgan-gp", action="store_true", help="in all rows of StyleGAN, as the paper's of CelebA-HQ")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", default="runs/ladder")
    return parser


def main() -> None:
    arguments = parser().parse_args()
    zoo.models()
    check(arguments)
    print("| model | row | FID of the paper | fd |")
    print("|---|---|---|---|")
    for part in arguments.rows:
        model, _, rows = part.partition(":")
        data = "CelebA-HQ 1024" if wgan_gp(model, arguments) else "FFHQ 1024"
        figures = [f for f in registry.model_spec(model).figures if f.metric == "FID" and f.data == data]
        paper = {figure.preset: figure.paper for figure in figures}
        for row in rows:
            value = measured(settings_of(model, row, arguments), arguments)
            print(f"| {model} | {row} | {paper[row]:.2f} | {value:.2f} |", flush=True)


if __name__ == "__main__":
    main()
