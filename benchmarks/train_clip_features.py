"""Train a small network to tell the actions of clips, and save it as a TorchScript file.

    python benchmarks/train_clip_features.py --data lpc_sprites --minutes 8 --out benchmarks/features/lpc_sprites.pt
    python benchmarks/train_clip_features.py --data lpc_sprites --minutes 8 --seed 1 --width 20 --logits --out judge.pt

Without --logits the file gives features for `zoo eval --metric fd --features FILE`: clips (N, 3, T, H, W) of 0 to 255,
uint8, to (N, F) float32, the means over time and space of its last activations. With --logits it gives those of the
actions, for `benchmarks/judge_actions.py`. Batch normalisation is folded into the convolutions, weights are in half
precision, clips are resized to 32x32 by the network. The receipt is measured on the file: accuracy on clips that it was
not trained on, and on the same clips with their frames in an order of chance, which shows how far it sees motion.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from zoo.data.examples import Examples
from zoo.data.tables import load
from zoo.metrics.reals import shuffled

STRIDES = ((1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 1, 1))
SIDE = 32


def prepare(x: torch.Tensor) -> torch.Tensor:
    """Clips (N, 3, T, H, W) of 0 to 255 as the network sees them: float32 in [-1, 1], 32x32."""
    x = x.float() / 127.5 - 1
    if x.shape[3] != 32 or x.shape[4] != 32:
        t = x.shape[2]
        frames = x.transpose(1, 2).flatten(0, 1)
        frames = F.interpolate(frames, size=[32, 32], mode="bilinear", align_corners=False, antialias=True)
        x = frames.unflatten(0, [-1, t]).transpose(1, 2)
    return x


class Classifier(nn.Module):
    """Four convolutions of space and time, and a linear layer."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, 4 * width]
        self.convs = nn.ModuleList(
            nn.Sequential(nn.Conv3d(a, b, 3, stride, 1, bias=False), nn.BatchNorm3d(b))
            for a, b, stride in zip(widths, widths[1:], STRIDES, strict=False)
        )
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            x = F.relu(conv(x))
        return self.head(F.dropout(x.mean((2, 3, 4)), 0.3, self.training))


class Folded(nn.Module):
    """A convolution with its normalisation folded in, in half precision."""

    def __init__(self, block: nn.Sequential) -> None:
        super().__init__()
        convolution, norm = block
        scale = norm.weight.detach() * (norm.running_var + norm.eps).rsqrt()
        self.stride = list(convolution.stride)
        self.register_buffer("weight", (convolution.weight.detach() * scale.view(-1, 1, 1, 1, 1)).half())
        self.register_buffer("bias", (norm.bias.detach() - norm.running_mean * scale).half())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv3d(x, self.weight.float(), self.bias.float(), stride=self.stride, padding=1)


class Exported(nn.Module):
    """What the file holds; `takes_clips` says to `zoo eval` what it sees."""

    def __init__(self, classifier: Classifier, logits: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(map(Folded, classifier.convs))
        self.head = classifier.head if logits else nn.Identity()
        self.takes_clips = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = prepare(x)
        for conv in self.convs:
            x = F.relu(conv(x))
        return self.head(x.mean((2, 3, 4)))


def train(examples: Examples, options: argparse.Namespace) -> tuple[Classifier, int]:
    """The trained classifier and the clips it saw. The rate rises over a fifth of the run, then falls to 0."""
    torch.manual_seed(options.seed)
    classifier = Classifier(options.width, len(examples.classes))
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=0.0, weight_decay=0.02)
    begun, seen = time.monotonic(), 0
    while True:
        share = max(seen / options.examples, (time.monotonic() - begun) / 60 / options.minutes)
        if share >= 1:
            return classifier.eval(), seen
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * min(share / 0.2, (1 - share) / 0.8)
        rows = torch.randint(len(examples), (options.batch_size,)).tolist()
        batch = examples.batch(rows, range(seen, seen + options.batch_size))
        clips = prepare(batch["video"].transpose(1, 2).expand(-1, 3, -1, -1, -1))
        shift = torch.randint(-2, 3, (2,)).tolist()  # of the whole batch
        clips = clips.roll(shift, (3, 4)) + 0.05 * torch.randn_like(clips)
        loss = F.cross_entropy(classifier(clips), batch["label"], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += options.batch_size
        if seen % (options.batch_size * 50) == 0:
            print(f"{seen}  {seen / (time.monotonic() - begun):.0f} clips/s  loss {loss.item():.3f}", flush=True)


def export(classifier: Classifier, path: Path, *, logits: bool) -> str:
    """Write the TorchScript file; its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Exported(classifier, logits)).save(str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@torch.no_grad()
def accuracy(path: Path, head: nn.Module, examples: Examples, *, disorder: bool) -> float:
    """The share of the clips that the file and the head put into their class, perhaps with shuffled frames."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        network = torch.jit.load(str(path))
    right = 0
    for first in range(0, len(examples), 100):
        batch = examples.batch(range(first, min(first + 100, len(examples))))
        clips = shuffled(batch["video"], 0, first) if disorder else batch["video"]
        logits = head(network(clips.transpose(1, 2).expand(-1, 3, -1, -1, -1)))
        right += int((logits.argmax(1) == batch["label"]).sum())
    return right / len(examples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="lpc_sprites")
    parser.add_argument("--shape", default="16x3x32x32", help="frames, channels, height and width of the clips")
    parser.add_argument("--test-split", default="test")
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--logits", action="store_true")
    parser.add_argument("--examples", type=float, default=2e6)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=0.003)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("features.pt"))
    options = parser.parse_args()
    shape = tuple(map(int, options.shape.split("x")))
    examples = load(options.data, "train", {"video": shape, "label": ()}, seed=options.seed)
    begun = time.monotonic()
    classifier, seen = train(examples, options)
    minutes = (time.monotonic() - begun) / 60
    digest = export(classifier, options.out, logits=options.logits)
    test = load(options.data, options.test_split, {"video": shape, "label": ()})
    head = nn.Identity() if options.logits else classifier.head
    receipt = {
        "data": options.data,
        "revision": examples.source.revision,
        "clips": len(examples),
        "examples": seen,
        "seed": options.seed,
        "width": options.width,
        "minutes": round(minutes, 1),
        "device": f"CPU, {torch.get_num_threads()} threads",
        "accuracy": round(accuracy(options.out, head, test, disorder=False), 4),
        "accuracy, frames shuffled": round(accuracy(options.out, head, test, disorder=True), 4),
        "of": f"{options.test_split}, {len(test)} clips",
        "gives": "logits" if options.logits else f"{4 * options.width} features",
        "sha256": digest,
        "bytes": options.out.stat().st_size,
    }
    print(json.dumps(receipt, indent=2))


if __name__ == "__main__":
    main()
