"""How many of a model's MNIST digits a classifier recognises, beside how many real ones.

    python benchmarks/judge_digits.py pixelcnn --weights mnist
    python benchmarks/judge_digits.py conditional_pixelcnn --weights mnist

A digit is accepted if the classifier (`benchmarks/train_features.py --logits`) gives a class 0.9 or more. Real digits
of the test split are brought to the levels of the model first: two, or as many shades of grey as it draws. A model of
classes is asked for each digit, and how many samples are accepted as that digit is told too.

Of an autoregressive model without classes it tells besides what the shape of real digits costs: the nats of whether
each pixel is dark or light, given the pixels before it. Most nats of a picture say how grey its edges are, and models
that draw equally good digits may differ in those by far.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import torch

import zoo
from zoo import media
from zoo.data.tables import load
from zoo.nn.autoregressive import AutoregressiveModel

SURE = 0.9


@torch.no_grad()
def shape_nats(model: AutoregressiveModel, pictures: torch.Tensor) -> float:
    """Mean nats of the darker or the lighter half of the levels, over all pixels of pictures (N, 1, H, W)."""
    found = []
    for part in pictures.split(100):
        logs = model(part.to(model.device)).float().cpu().log_softmax(1)
        dark, light = (half.logsumexp(1) for half in logs.tensor_split([model.levels // 2], 1))
        found.append(-torch.where(part < model.levels // 2, dark, light).sum((1, 2, 3)))
    return float(torch.cat(found).mean())


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--judge", type=Path, default=Path(__file__).parent / "features" / "mnist_judge.pt")
    parser.add_argument("--data", default="mnist", help="mnist, or binarized_mnist for models of its two levels")
    parser.add_argument("--n", type=int, default=1000, help="samples")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        judge = torch.jit.load(str(options.judge))

    def judged(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The class of each picture (N, 1, 28, 28), and whether the judge is sure of it."""
        found = [judge(part.expand(-1, 3, -1, -1)).softmax(1).max(1) for part in pictures.split(500)]
        return torch.cat([best.indices for best in found]), torch.cat([best.values for best in found]) >= SURE

    model = zoo.load(options.model, weights=options.weights)
    real = load(options.data, "test", {"image": model.image_shape})
    pictures = torch.cat([batch["image"] for batch in real.batches(500)])
    levels = media.quantise(pictures, model.levels)
    _, real_sure = judged(media.to_bytes(levels, model.levels))
    asked = None if model.label_classes is None else torch.arange(options.n) % model.label_classes
    drawn = model.sample(options.n, seed=options.seed, **({} if asked is None else {"label": asked}))
    found, sure = judged(media.to_bytes(drawn, model.levels))
    receipt = {
        "model": options.model,
        "weights": options.weights,
        "accepted": round(float(sure.float().mean()), 4),
        "of real digits": round(float(real_sure.float().mean()), 4),
        "accepted by digit": found[sure].bincount(minlength=10).tolist(),
        "samples": options.n,
        "seed": options.seed,
        "real": f"{options.data} test, {len(real)} pictures of {model.levels} levels",
    }
    if asked is None and isinstance(model, AutoregressiveModel) and model.levels > 2:
        receipt["nats of dark or light"] = round(shape_nats(model, levels[:2000]), 2)
    if asked is not None:
        receipt["accepted as asked for"] = round(float((sure & (found == asked)).float().mean()), 4)
    print(json.dumps(receipt, indent=2))


if __name__ == "__main__":
    main()
