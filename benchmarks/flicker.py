"""How much clips flicker that are drawn from clips of label maps: models of clips beside models of pictures.

    python benchmarks/flicker.py vid2vid:runs/vid2vid pix2pix:runs/pix2pix --data lpc_sprites --column segmentation

A model of pictures draws frame by frame, each frame of a clip with the same noise, which is to its favour. Prints one
table in Markdown, as `docs/translation.md` has it, of clips of the test split:

- L1: of the true frames, on the scale of -1 to 1.
- temporal error: how much a frame differs from the one before moved along the flow of the true clip, on the same scale.
  The flow is that of the data if they have a column "flow"; else it is found in the true frames. True clips have an
  error too: what appears, and what moves otherwise.
- frame fd, clip fd: distances of the features of single frames and of clips, of the networks in `benchmarks/features`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

import zoo
from zoo.data.tables import load
from zoo.metrics import distances, features
from zoo.nn.adversarial import from_pixels
from zoo.nn.flow import match_blocks, warp

FEATURES = Path(__file__).parent / "features"


def true_flow(clips: torch.Tensor, given: torch.Tensor | None, found_by: str) -> torch.Tensor:
    """Flows (N, T - 1, 2, H, W) from each frame of true clips (N, T, C, H, W), -1 to 1, to the one before."""
    if given is not None:
        return given[:, 1:]
    zoo.models()  # puts plugins/ on the path
    from zoo_translation.flow_network import find_flow

    parts = []
    for clip in clips:
        pair = clip[:-1], clip[1:]
        parts.append(find_flow(*pair) if found_by == "network" else match_blocks(*pair, block=3))
    return torch.stack(parts)


def temporal_error(clips: torch.Tensor, flow: torch.Tensor) -> float:
    """Of clips (N, T, C, H, W), -1 to 1, along flows (N, T - 1, 2, H, W)."""
    moved = warp(clips[:, :-1].flatten(0, 1), flow.flatten(0, 1))
    return float((moved - clips[:, 1:].flatten(0, 1)).abs().mean())


def drawn(model: Any, conditions: torch.Tensor) -> torch.Tensor:
    """Clips (N, T, C, H, W), uint8, from clips of label maps (N, T, C', H, W)."""
    count, length = conditions.shape[:2]
    if model.spec.is_video:
        return model.sample(count, frames=length, condition=conditions)
    return torch.stack([model.sample(count, condition=frame) for frame in conditions.unbind(1)], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL:FOLDER", help="weights folders; none for true clips alone")
    parser.add_argument("--data", default="lpc_sprites")
    parser.add_argument("--column", default="segmentation", help="with the label maps")
    parser.add_argument("--split", default="test")
    parser.add_argument("--shape", default="3x32x32", help="of a frame")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--limit", type=int, default=1000, help="clips")
    parser.add_argument("--flow", default="network", choices=("network", "match"), help="how the true flow is found")
    arguments = parser.parse_args()
    channels, height, width = map(int, arguments.shape.split("x"))
    shapes = {"video": (arguments.frames, channels, height, width), "condition": (arguments.frames, 1, height, width)}
    optional = {"flow": (arguments.frames, 2, height, width)}
    columns = {"condition": arguments.column}
    held = load(arguments.data, arguments.split, shapes, columns=columns, optional=optional)
    batch = held.batch(range(min(arguments.limit, len(held))))
    true = from_pixels(batch["video"])
    flow = true_flow(true, batch.get("flow"), arguments.flow)
    cpu = torch.device("cpu")
    networks = [features.load(str(FEATURES / name), cpu) for name in ("cifar10.pt", "lpc_sprites.pt")]
    reals = [networks[0].of_pictures(batch["video"].flatten(0, 1)), networks[1].of_pictures(batch["video"])]
    print("| model | L1 | temporal error | frame fd | clip fd |\n|---|---|---|---|---|")
    print(f"| true clips, {len(true)} | 0 | {temporal_error(true, flow):.4f} | 0 | 0 |", flush=True)
    for text in arguments.models:
        name, _, folder = text.partition(":")
        clips = drawn(zoo.load(name, weights=folder, device="cpu"), batch["condition"])
        made = from_pixels(clips)
        seen = [networks[0].of_pictures(clips.flatten(0, 1)), networks[1].of_pictures(clips)]
        figures = [float((made - true).abs().mean()), temporal_error(made, flow)]
        fds = [distances.frechet(a, b) for a, b in zip(reals, seen, strict=True)]
        row = [f"{figures[0]:.4f}", f"{figures[1]:.4f}", f"{fds[0]:.2f}", f"{fds[1]:.2f}"]
        print(f"| {text} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
