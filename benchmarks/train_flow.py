"""Trains the flow network of vid2vid on synthetic motion, and compares it with the matching of blocks.

    python benchmarks/train_flow.py --minutes 10 --out plugins/zoo_translation/flow.safetensors
    python benchmarks/train_flow.py --measure plugins/zoo_translation/flow.safetensors

Prints one table in Markdown, as `docs/translation.md` has it: end-point error in pixels, the mean over pairs that the
network never saw, of sizes and motions of which it saw others.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import zoo
from zoo.nn.flow import end_point_error, match_blocks

zoo.models()  # puts plugins/ on the path
from zoo_translation.flow_network import FlowNetwork  # noqa: E402
from zoo_translation.motion import pairs  # noqa: E402

TESTS = ((32, 2), (32, 4), (64, 4), (64, 7))  # size, and largest shift
HELD_OUT = 10_000  # seed of the pairs that are measured on


def train(options: argparse.Namespace) -> tuple[FlowNetwork, int]:
    """The network, and how many pairs it has seen; the learning rate falls to 0 over the run."""
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    network = FlowNetwork()
    optimizer = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
    begun, seen, update = time.process_time(), 0, 0
    while (share := max(seen / options.examples, (time.process_time() - begun) / 60 / options.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * (1 + math.cos(math.pi * share)) / 2
        shift = float(torch.empty(1).uniform_(1, 8, generator=generator))
        previous, current, truth = pairs(options.batch_size, 32, shift, generator)
        coarse, fine = network(previous, current)
        loss = end_point_error(fine, truth) + 0.3 * end_point_error(coarse, truth)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        seen, update = seen + options.batch_size, update + 1
        if update % 50 == 0:
            print(
                f"{seen} pairs, {time.process_time() - begun:.0f} s: error {end_point_error(fine, truth):.3f}",
                flush=True,
            )
    return network, seen


@torch.no_grad()
def measure(network: FlowNetwork, count: int) -> None:
    """The table of end-point errors."""
    print("| size | largest shift | network | blocks of 3 | blocks of 5 | no flow |\n|---|---|---|---|---|---|")
    for side, shift in TESTS:
        previous, current, truth = pairs(count, side, shift, torch.Generator().manual_seed(HELD_OUT))
        flows = [network(previous, current)[-1]]
        flows += [match_blocks(previous, current, reach=math.ceil(shift), block=block) for block in (3, 5)]
        errors = [end_point_error(flow, truth) for flow in (*flows, torch.zeros_like(truth))]
        print(f"| {side} | {shift} | " + " | ".join(f"{error:.3f}" for error in errors) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=math.inf, help="of the processor")
    parser.add_argument("--examples", type=float, default=400_000, help="pairs")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=128, help="pairs of each row of the table")
    parser.add_argument("--out", type=Path, default=Path("flow.safetensors"))
    parser.add_argument("--measure", type=Path, metavar="FILE", help="of these weights, without training")
    options = parser.parse_args()
    if options.measure:
        network = FlowNetwork()
        network.load_state_dict({name: value.float() for name, value in load_file(options.measure).items()})
    else:
        network, seen = train(options)
        save_file({name: value.half() for name, value in network.state_dict().items()}, options.out)
        digest = hashlib.sha256(options.out.read_bytes()).hexdigest()
        print(f"{seen} pairs, {sum(p.numel() for p in network.parameters())} weights, sha256 {digest}")
    measure(network.eval(), options.count)


if __name__ == "__main__":
    main()
