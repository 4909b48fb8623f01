"""How many samples of a class-conditional model show the action that was asked for, as a network of its own tells.

    python benchmarks/judge_actions.py dvdgan --weights lpc_sprites --judge benchmarks/features/lpc_sprites_judge.pt

The network (`benchmarks/train_clip_features.py --logits`) was trained with another seed and width than the one that
`zoo eval` compares features of. Beside the share stands that of real clips that it never saw.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import torch

import zoo
from zoo.data.tables import load
from zoo.model import Model

Receipt = dict[str, Any]


@torch.no_grad()
def judged(model: Model, network: Path, *, data: str, split: str = "test", each: int = 32, seed: int = 0) -> Receipt:
    """How often a model draws the action that it is asked for, in all and by action; needs a model with labels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        judge = torch.jit.load(str(network))

    def told(clips: torch.Tensor) -> torch.Tensor:
        return judge(clips.transpose(1, 2).expand(-1, 3, -1, -1, -1)).argmax(1)

    assert model.frames is not None
    shape = (model.frames, *model.image_shape)
    real = load(data, split, {"video": shape, "label": ()})
    right = sum(int((told(batch["video"]) == batch["label"]).sum()) for batch in real.batches(100))
    shares, answers = {}, []
    for label, name in enumerate(real.classes):
        found = told(model.sample(each, seed=seed, label=label))
        shares[name] = round(float((found == label).float().mean()), 4)
        answers.append(found)
    counts = torch.cat(answers).bincount(minlength=len(real.classes))
    return {
        "asked for and seen": round(sum(shares.values()) / len(shares), 4),
        "of real clips": round(right / len(real), 4),
        "by action": shares,
        "answers by action": dict(zip(real.classes, counts.tolist(), strict=True)),
        "samples of each": each,
        "seed": seed,
        "real": f"{data} {split}, {len(real)} clips",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--data", default="lpc_sprites")
    parser.add_argument("--split", default="test")
    parser.add_argument("--each", type=int, default=32, help="samples of each action")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = zoo.load(options.model, weights=options.weights)
    how = {name: getattr(options, name) for name in ("data", "split", "each", "seed")}
    receipt = {"model": options.model, "weights": options.weights, **judged(model, options.judge, **how)}
    print(json.dumps(receipt, indent=2))


if __name__ == "__main__":
    main()
