"""How many samples of a model of captions are nearest to the picture whose caption they were asked for.

    python benchmarks/judge_captions.py conditional_pixelcnn --weights emoji --data noto_emoji64

For captions spread evenly over a split, one sample each is compared with all pictures of the split, brought to the
levels of the model, in the features of a network. It is right if the picture of its caption is the nearest, or among
the nearest five. By chance one sample in as many as there are pictures would be.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

import zoo
from zoo import media
from zoo.data.tables import load
from zoo.metrics import features as networks
from zoo.model import Model

NEAREST = 5


@torch.no_grad()
def judged(model: Model, features: Path, *, data: str, split: str, n: int = 200, seed: int = 0) -> dict[str, Any]:
    """How often the caption that was asked for is that of the nearest picture, or of one of the nearest five."""
    find = networks.load(str(features), torch.device("cpu")).of_pictures
    pictures = load(data, split, {"image": model.image_shape})
    captions = pictures.captions
    if captions is None:
        raise SystemExit(f"{data} has no captions")
    n = min(n, len(pictures))
    asked = [i * len(pictures) // n for i in range(n)]
    real = [media.to_bytes(media.quantise(b["image"], model.levels), model.levels) for b in pictures.batches(256)]
    drawn = model.sample(n, seed=seed, text=[captions[i] for i in asked])
    distances = torch.cdist(find(media.to_bytes(drawn, model.levels)), torch.cat([find(part) for part in real]))
    nearest = distances.argsort(1)[:, :NEAREST]  # n 5
    right = nearest == torch.tensor(asked)[:, None]
    return {
        "nearest": round(float(right[:, 0].float().mean()), 4),
        f"among the nearest {NEAREST}": round(float(right.any(1).float().mean()), 4),
        "by chance": round(1 / len(pictures), 4),
        "samples": n,
        "seed": seed,
        "real": f"{data} {split}, {len(pictures)} pictures of {model.levels} levels",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--features", type=Path, default=Path(__file__).parent / "features" / "cifar10.pt")
    parser.add_argument("--data", default="noto_emoji64")
    parser.add_argument("--split", default="train")
    parser.add_argument("--n", type=int, default=200, help="captions, one sample each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = zoo.load(options.model, weights=options.weights)
    how = {name: getattr(options, name) for name in ("data", "split", "n", "seed")}
    receipt = {"model": options.model, "weights": options.weights, **judged(model, options.features, **how)}
    print(json.dumps(receipt, indent=2))


if __name__ == "__main__":
    main()
