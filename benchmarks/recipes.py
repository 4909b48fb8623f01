"""Short runs of one model that differ in one thing each: learning rate, batch size, moving average, or the network.

    python benchmarks/recipes.py pixelcnn --preset binarized_mnist --examples 24000 --out runs/recipes \\
        learning_rate=0.002 learning_rate=0.008 "learning_rate=0.008 batch_size=32"

Each run is given by what it changes in the preset: `name=value` of the network, the recipe or the settings, several
with spaces between. All see equally many examples, in the same order where the batch size is the same. Prints a table
in Markdown, as `docs/training.md` has it: nats of held-out pictures (the validation split alone, so that no choice is
made on test pictures) and examples a second. Runs that are done are not trained again; one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import runs

from zoo import building, hub, metrics, registry
from zoo.settings import Settings

FIELDS = {field.name for field in dataclasses.fields(Settings)}


def settings_of(variant: str, arguments: argparse.Namespace) -> Settings:
    """The run of one variant."""
    spec = registry.model_spec(arguments.model)
    preset = spec.preset(arguments.preset)
    chosen = building.parse(shlex.split(variant))
    own = {name: chosen.pop(name) for name in list(chosen) if name in FIELDS}
    overrides, recipe = building.split(spec, chosen)
    place = "_".join(variant.replace("=", "-").replace("/", "-").split()) or "preset"
    ours = {
        "model": spec.name,
        "preset": arguments.preset,
        "overrides": overrides,
        "recipe": recipe,
        "out": str(Path(arguments.out) / spec.name / place),
        "examples": arguments.examples,
        "batch_size": arguments.batch,
        "precision": arguments.precision,
        "device": arguments.device,
        "eval_every": 0,
        "sample_every": 0,
        "seed": arguments.seed,
    }
    return Settings(**{**preset.settings, **ours, **own})


def measured(settings: Settings, arguments: argparse.Namespace) -> dict[str, Any]:
    """Held-out nats of a run and its speed, trained first as far as it is not."""
    folder = Path(settings.out)
    result = folder / "figures.json"
    runs.check(settings)
    if not result.is_file():
        runs.train(settings)
        model = hub.load(settings.model, weights=str(folder), device=settings.device)
        how = {"data": settings.data, "split": "validation", "limit": arguments.limit}
        (receipt,) = metrics.evaluate(model, metrics=["nats"], **how)
        last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
        rate = last["seen"] / (60 * last["minutes"])
        result.write_text(json.dumps({"nats": receipt["value"], "examples/s": rate, "receipt": receipt}, indent=2))
    return dict(json.loads(result.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("variants", nargs="+", metavar="NAME=VALUE ...")
    parser.add_argument("--preset", default="binarized_mnist")
    parser.add_argument("--examples", type=int, default=24_000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=2_000, help="validation pictures that are measured on")
    parser.add_argument("--out", default="runs/recipes")
    arguments = parser.parse_args()
    print(f"| {arguments.model}: what is changed | nats, validation | examples/s |\n|---|---|---|", flush=True)
    for variant in arguments.variants:
        figures = measured(settings_of(variant, arguments), arguments)
        print(f"| `{variant}` | {figures['nats']:.2f} | {figures['examples/s']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
