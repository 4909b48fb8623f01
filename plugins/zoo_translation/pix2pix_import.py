"""U-Net generators of pytorch-CycleGAN-and-pix2pix: `*_net_G.pth`, a state dict of nested blocks.

Block i lies at "model." + "model.1." + "model.3." ... and holds a convolution, the next block, and a transposed
convolution. The file says neither whether dropout was on, which is taken to be as pix2pix has it there, nor the size of
the pictures, which is taken to be that at which the U-Net reaches one pixel.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from zoo.errors import WeightsError
from zoo.hub.imports import read_state_dict

State = dict[str, torch.Tensor]


def read(source: str | Path) -> tuple[dict[str, Any], State]:
    """Constructor arguments and state dict of the U-Net in a file, without a discriminator.

    Raises:
        WeightsError: a file that is damaged or hostile, or holds another network.
    """
    tensors = {str(name).removeprefix("module."): value for name, value in read_state_dict(source).items()}
    blocks = _blocks(tensors)
    if len(blocks) < 5:
        raise WeightsError(f"'{source}' holds no U-Net: it has no nested blocks 'model.model.1.model.3. ...'")
    try:
        return _config(blocks), _state(blocks)
    except KeyError as error:
        raise WeightsError(f"'{source}' holds no U-Net of pix2pix: a block of it has no {error}") from None


def _blocks(tensors: State) -> list[State]:
    """The layers of each block by place: "0.weight" of the outermost, "1.weight" of the others, and so on."""
    blocks = []
    prefix = "model.model."
    while any(name.startswith(prefix) for name in tensors):
        own = re.compile(re.escape(prefix) + r"(\d\.\w+)")
        blocks.append({found[1]: value.float() for name, value in tensors.items() if (found := own.fullmatch(name))})
        prefix += "1.model." if len(blocks) == 1 else "3.model."
    return blocks


def _places(block: int, count: int) -> tuple[int, int | None, int, int | None]:
    """Where a block has its convolution, its norm, its transposed convolution, and the norm of that."""
    if block == 0:
        return 0, None, 3, None
    return (1, None, 3, 4) if block == count - 1 else (1, 2, 5, 6)


def _config(blocks: list[State]) -> dict[str, Any]:
    depth = len(blocks)
    first, last = blocks[0]["0.weight"], blocks[0]["3.weight"]
    is_batch = "2.weight" in blocks[1]
    side = 2**depth
    return {
        "image_shape": (last.shape[1], side, side),
        "condition_channels": first.shape[1],
        "width": len(first),
        "width_max": len(blocks[-1]["1.weight"]),
        "norm": "batch" if is_batch else "instance",
        "biases": not is_batch,
        "dropout_layers": tuple(range(1, depth - 4)),
        "discriminator": False,
    }


def _state(blocks: list[State]) -> State:
    """Our names; shifts of 0 and scales of 1 where that program has none."""
    state: State = {}
    depth = len(blocks)
    for i, block in enumerate(blocks):
        down, down_norm, up, up_norm = _places(i, depth)
        layers = {
            f"encoder.{i}": (down, down_norm, len(block[f"{down}.weight"])),
            f"decoder.{depth - 1 - i}": (up, up_norm, block[f"{up}.weight"].shape[1]),
        }
        for name, (place, norm, channels) in layers.items():
            zeros, ones = torch.zeros(channels), torch.ones(channels)
            state[f"generator.{name}.weight"] = block[f"{place}.weight"]
            if f"{place}.bias" in block or norm is None:
                state[f"generator.{name}.bias"] = block.get(f"{place}.bias", zeros)
            if norm is not None:
                scaled = name.replace("coder.", "coder_norms.")
                state[f"generator.{scaled}.weight"] = block.get(f"{norm}.weight", ones)
                state[f"generator.{scaled}.bias"] = block.get(f"{norm}.bias", zeros)
    return state
