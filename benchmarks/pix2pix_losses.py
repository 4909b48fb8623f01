"""The losses of pix2pix one by one (table 1 of the paper): same data, pictures seen, networks, batch and seed.

Or the sizes of the discriminator's patches (table 2), or any presets whose names begin alike.

    python benchmarks/pix2pix_losses.py --preset lpc_sprites32 --out runs/losses
    python benchmarks/pix2pix_losses.py --preset facades64 --losses patch1 patch16 patch34 l1-cgan --examples 40000

Prints one table in Markdown, as `docs/translation.md` has it: L1 of held-out pairs on the scale of -1 to 1, and `fd` of
pictures drawn from the held-out conditions against the true ones. Losses that are done are not trained again, and one
that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import runs
import torch

from zoo import hub, metrics, registry
from zoo.data.tables import load
from zoo.model import Model
from zoo.nn.adversarial import from_pixels
from zoo.settings import Settings

LOSSES = ("l1", "gan", "cgan", "l1-gan", "l1-cgan")


def settings_of(loss: str, arguments: argparse.Namespace) -> Settings:
    """The run of one loss: its preset, for as many pictures as all of them see."""
    name = f"{arguments.preset}-{loss}"
    own = dict(registry.model_spec("pix2pix").preset(name).settings)
    return Settings(
        **{
            **own,
            "model": "pix2pix",
            "preset": name,
            "out": str(Path(arguments.out) / name),
            "examples": arguments.examples or own["examples"],
            "device": arguments.device,
            "eval_every": 0,
            "sample_every": 20_000,
        }
    )


@torch.no_grad()
def l1_of(model: Model, settings: Settings, split: str) -> float:
    """Mean absolute difference of drawn and true pictures, whose values are from -1 to 1."""
    held = load(settings.data, split, model.batch_shapes, columns=settings.columns)
    total, start = 0.0, 0
    for batch in held.batches(16):
        count = len(batch["image"])
        drawn = model.sample(count, start=start, condition=batch["condition"])
        total += float((from_pixels(drawn) - from_pixels(batch["image"])).abs().mean()) * count
        start += count
    return total / len(held)


def measured(settings: Settings, arguments: argparse.Namespace) -> dict[str, float]:
    """L1 and `fd` of a loss, trained first as far as it is not."""
    folder = Path(settings.out)
    result = folder / "figures.json"
    runs.check(settings)
    if not result.is_file():
        runs.train(settings)
        model = hub.load("pix2pix", weights=str(folder), device="cpu")
        split = arguments.split
        (receipt,) = metrics.evaluate(
            model,
            data=settings.data,
            split=split,
            metrics=["fd"],
            features=arguments.features,
            columns=settings.columns,
            count=len(load(settings.data, split, model.batch_shapes, columns=settings.columns)),
        )
        result.write_text(json.dumps({"l1": l1_of(model, settings, split), "fd": receipt["value"], "receipt": receipt}))
    found = json.loads(result.read_text())
    return {"l1": found["l1"], "fd": found["fd"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="lpc_sprites32", help="what the names of the presets begin with")
    parser.add_argument("--losses", nargs="+", default=LOSSES, help="what they end with")
    parser.add_argument("--examples", type=int, help="pictures that each loss is trained on; the preset's without it")
    parser.add_argument("--split", default="test", help="what is measured on")
    parser.add_argument("--features", default="benchmarks/features/cifar10.pt")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", default="runs/losses")
    arguments = parser.parse_args()
    print("| losses | L1 | fd |\n|---|---|---|")
    for loss in arguments.losses:
        figures = measured(settings_of(loss, arguments), arguments)
        print(f"| {loss.replace('-', ' + ')} | {figures['l1']:.4f} | {figures['fd']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
