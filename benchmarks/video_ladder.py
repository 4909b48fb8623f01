"""The GANs of clips on equal terms: same data, clips seen, batch and seed, each with its own preset.

    python benchmarks/video_ladder.py --examples 24000 --out runs/video-ladder
    python benchmarks/video_ladder.py --models dvdgan --examples 60000 --out runs/video-ladder-60000

Prints the table of `docs/video-ladder.md` in Markdown: `fd` of clips and of their frames, how often a network of its
own sees the action that a sample was asked for, and clips a second in training, beside the papers' order. A sheet of
samples of each model comes to lie beside its run.

Rows that are done are not trained again, one that was stopped goes on: several short calls do as well as one.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import runs
from judge_actions import judged

import zoo
from zoo import hub, media, metrics, registry
from zoo.settings import Settings

MODELS = ("vgan", "tgan", "mocogan", "dvdgan")
HERE = Path(__file__).parent


def settings_of(name: str, arguments: argparse.Namespace) -> Settings:
    preset = registry.model_spec(name).presets[arguments.preset]
    ours = {
        "model": name,
        "preset": arguments.preset,
        "data": arguments.data,
        "out": str(Path(arguments.out) / name),
        "examples": arguments.examples,
        "batch_size": arguments.batch,
        "sample_every": arguments.examples,
        "precision": arguments.precision,
        "device": arguments.device,
        "seed": arguments.seed,
    }
    return Settings(**{**preset.settings, **ours})


def measured(settings: Settings, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of one model, kept beside its run, which is trained first as far as it is not."""
    folder = Path(settings.out)
    result = folder / "figures.json"
    runs.check(settings)
    if result.is_file():
        return dict(json.loads(result.read_text()))
    runs.train(settings)
    model = hub.load(settings.model, weights=str(folder), device=settings.device)
    training = json.loads((folder / "config.json").read_text())["training"]
    figures: dict[str, Any] = {"clips/s": training["examples"] / (60 * (training["minutes"] or math.nan))}
    for key, features, count in (
        ("clips", arguments.features, arguments.count),
        ("frames", arguments.frame_features, arguments.count // 5),
    ):
        (receipt,) = metrics.evaluate(
            model, data=arguments.data, split="train", metrics=["fd"], features=features, count=count, limit=count
        )
        figures[key] = receipt
    if model.condition_names:
        figures["actions"] = judged(model, Path(arguments.judge), data=arguments.data, each=arguments.each)
    clips = model.sample(8, seed=1)
    media.write_image(media.grid(clips.flatten(0, 1), clips.shape[1]), result.with_suffix(".png"), scale=2)
    result.write_text(json.dumps(figures, indent=2))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--data", default="lpc_sprites")
    parser.add_argument("--preset", default="lpc_sprites32")
    parser.add_argument("--examples", type=int, default=24_000, help="clips that each model is trained on")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--features", default=str(HERE / "features" / "lpc_sprites.pt"))
    parser.add_argument("--frame-features", default=str(HERE / "features" / "cifar10.pt"))
    parser.add_argument("--judge", default=str(HERE / "features" / "lpc_sprites_judge.pt"))
    parser.add_argument("--count", type=int, default=1_500, help="samples, and real clips, to measure on")
    parser.add_argument("--each", type=int, default=32, help="samples of each action")
    parser.add_argument("--out", default="runs/video-ladder")
    arguments = parser.parse_args()

    zoo.models()
    print("| model | IS, UCF-101, of the paper | fd of clips | fd of frames | actions | clips/s in training |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in arguments.models:
        papers = registry.model_spec(name).figures
        (paper,) = [f.paper for f in papers if f.metric == "inception score" and f.data == "UCF-101"]
        figures = measured(settings_of(name, arguments), arguments)
        actions = f"{figures['actions']['asked for and seen']:.0%}" if "actions" in figures else "-"
        clips, frames = (figures[key]["value"] for key in ("clips", "frames"))
        print(f"| {name} | {paper} | {clips:.2f} | {frames:.2f} | {actions} | {figures['clips/s']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
