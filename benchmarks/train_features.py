"""Train a small feature network of our own and save it as a TorchScript file for `zoo eval --features FILE`.

    python benchmarks/train_features.py --data cifar10 --minutes 25 --out benchmarks/features/cifar10.pt
    python benchmarks/train_features.py --data mnist --shape 1x28x28 --no-flip --minutes 4 --out features.pt
    python benchmarks/train_features.py --data mnist --shape 1x28x28 --no-flip --logits --smoothing 0 \\
        --widths 16 20 40 72 --examples 200000 --out benchmarks/features/mnist_judge.pt

A residual network is taught the labels of the data. The file holds it without its last layer: pictures of 0 to 255,
(N, 3, H, W), uint8 or float32, to (N, 144) float32, which are the means over the pixels of its last activations; with
`--logits` it holds the whole network, a judge of classes.
Batch normalisation is folded into the convolutions, and weights are kept in half precision. Pictures that are not of
32x32 are resized by the network. The receipt is measured on the file.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from zoo.data.examples import Examples
from zoo.data.tables import load

WIDTHS = (32, 40, 80, 144)
SIDE = 32


def prepare(x: torch.Tensor) -> torch.Tensor:
    """Pictures (N, 3, H, W) of 0 to 255 as the network sees them: float32 in [-1, 1], 32x32."""
    x = x.float() / 127.5 - 1
    if x.shape[2] != 32 or x.shape[3] != 32:
        x = F.interpolate(x, size=[32, 32], mode="bilinear", align_corners=False, antialias=True)
    return x


def conv(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out))


class Classifier(nn.Module):
    """A stem, then for each further width a convolution of stride 2 and a residual block of two."""

    def __init__(self, classes: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.stem = conv(3, widths[0])
        self.down = nn.ModuleList(conv(a, b, 2) for a, b in pairs)
        self.first = nn.ModuleList(conv(b, b) for _, b in pairs)
        self.second = nn.ModuleList(conv(b, b) for _, b in pairs)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        for down, first, second in zip(self.down, self.first, self.second, strict=True):
            x = F.relu(down(x))
            x = F.relu(x + second(F.relu(first(x))))
        return self.head(x.mean((2, 3)))


class Folded(nn.Module):
    """A convolution with its normalisation folded in, in half precision."""

    def __init__(self, block: nn.Sequential) -> None:
        super().__init__()
        convolution, norm = block
        scale = norm.weight.detach() * (norm.running_var + norm.eps).rsqrt()
        self.stride = convolution.stride[0]
        self.register_buffer("weight", (convolution.weight.detach() * scale[:, None, None, None]).half())
        self.register_buffer("bias", (norm.bias.detach() - norm.running_mean * scale).half())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight.float(), self.bias.float(), stride=self.stride, padding=1)


class Features(nn.Module):
    """What the file holds: the classifier without its head, or with it."""

    def __init__(self, classifier: Classifier, *, logits: bool) -> None:
        super().__init__()
        self.head = classifier.head if logits else nn.Identity()
        self.stem = Folded(classifier.stem)
        self.down = nn.ModuleList(map(Folded, classifier.down))
        self.first = nn.ModuleList(map(Folded, classifier.first))
        self.second = nn.ModuleList(map(Folded, classifier.second))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(prepare(x)))
        for down, first, second in zip(self.down, self.first, self.second):  # noqa: B905 - TorchScript has no strict
            x = F.relu(down(x))
            x = F.relu(x + second(F.relu(first(x))))
        return self.head(x.mean((2, 3)))


def augment(images: torch.Tensor, generator: torch.Generator, flip: bool) -> torch.Tensor:
    """Each picture shifted by up to 4 pixels, and half of them mirrored."""
    n = len(images)
    padded = F.pad(images, (4, 4, 4, 4), mode="reflect")
    shifts = torch.randint(0, 9, (n, 2), generator=generator).tolist()
    images = torch.stack([p[:, y : y + SIDE, x : x + SIDE] for p, (y, x) in zip(padded, shifts, strict=True)])
    if not flip:
        return images
    mirrored = torch.rand(n, generator=generator) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def train(pictures: Examples, options: argparse.Namespace) -> tuple[Classifier, int]:
    """The trained classifier and the examples it saw. The rate rises over a fifth of the run, then falls to 0."""
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    classifier = Classifier(len(pictures.classes), options.widths).to(options.device)
    decayed = [p for p in classifier.parameters() if p.ndim > 1]
    kept = [p for p in classifier.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": kept, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=True)
    begun, seen, order = time.monotonic(), 0, torch.empty(0, dtype=torch.long)
    while True:
        share = max(seen / options.examples, (time.monotonic() - begun) / 60 / options.minutes)
        if share >= 1:
            return classifier, seen
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * min(share / 0.2, (1 - share) / 0.8)
        if len(order) < options.batch_size:
            order = torch.randperm(len(pictures), generator=generator)
        batch = pictures.batch(order[: options.batch_size].tolist())
        order = order[options.batch_size :]
        images = augment(prepare(batch["image"].expand(-1, 3, -1, -1)), generator, options.flip).to(options.device)
        loss = F.cross_entropy(classifier(images), batch["label"].to(options.device), label_smoothing=options.smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += options.batch_size
        if seen % (options.batch_size * 50) == 0:
            print(f"{seen}  {seen / (time.monotonic() - begun):.0f} images/s  loss {loss.item():.3f}", flush=True)


def export(classifier: Classifier, path: Path, *, logits: bool) -> str:
    """Write the TorchScript file; its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Features(classifier.cpu().eval(), logits=logits)).save(str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def accuracy(path: Path, head: nn.Module, pictures: Examples) -> float:
    """The share of the pictures that the file and the head put into their class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        network = torch.jit.load(str(path))
    right = 0
    with torch.no_grad():
        for batch in pictures.batches(200):
            logits = head(network(batch["image"].expand(-1, 3, -1, -1)))
            right += int((logits.argmax(1) == batch["label"]).sum())
    return right / len(pictures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--shape", default="3x32x32", help="channels, height and width of the data's pictures")
    parser.add_argument("--test-split", default="test")
    parser.add_argument("--no-flip", dest="flip", action="store_false", help="pictures whose mirror image is another")
    parser.add_argument("--logits", action="store_true", help="save the whole classifier")
    parser.add_argument("--widths", type=int, nargs=4, default=WIDTHS)
    parser.add_argument("--examples", type=float, default=2e6)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--smoothing", type=float, default=0.1, help="of labels; 0 for a judge that may be sure")
    parser.add_argument("--learning-rate", type=float, default=0.2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("features.pt"))
    options = parser.parse_args()
    channels, height, width = map(int, options.shape.split("x"))
    pictures = load(options.data, "train", (channels, height, width))
    begun = time.monotonic()
    classifier, seen = train(pictures, options)
    minutes = (time.monotonic() - begun) / 60
    digest = export(classifier, options.out, logits=options.logits)
    test = load(options.data, options.test_split, (channels, height, width))
    receipt = {
        "data": options.data,
        "revision": pictures.source.revision,
        "pictures": len(pictures),
        "examples": seen,
        "seed": options.seed,
        "minutes": round(minutes, 1),
        "device": f"{options.device}, {torch.get_num_threads()} threads",
        "accuracy": round(accuracy(options.out, nn.Identity() if options.logits else classifier.head, test), 4),
        "of": f"{options.test_split}, {len(test)} pictures",
        "features": len(pictures.classes) if options.logits else options.widths[-1],
        "sha256": digest,
        "bytes": options.out.stat().st_size,
    }
    print(json.dumps(receipt, indent=2))


if __name__ == "__main__":
    main()
