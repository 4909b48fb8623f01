"""Autoencoders of the public implementation vq-vae-2-pytorch: a state dict of two levels at stride 4.

The file holds no priors and not the size of the pictures, which is taken to be 256. The priors come as they are drawn,
small ones; `zoo train vqvae2 --from FOLDER --set stage=priors` trains them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from zoo.errors import WeightsError
from zoo.hub.imports import read_state_dict
from zoo_vqvae.vqvae2 import VQVAE2

State = dict[str, torch.Tensor]

# Their name of a network -> ours, within the autoencoder; lists are from the top down.
NETWORKS = {
    "enc_t": "encoders.0",
    "enc_b": "encoders.1",
    "quantize_conv_t": "to_codes.0",
    "quantize_conv_b": "to_codes.1",
    "quantize_t": "quantisers.0",
    "quantize_b": "quantisers.1",
    "dec_t": "conditioners.0",
    "upsample_t": "ups.0",
    "dec": "decoder",
}
BUFFERS = {"embed": "codebook", "cluster_size": "counts", "embed_avg": "sums"}  # the first and last are transposed
PRIORS: dict[str, Any] = {
    "prior_width": (64, 64),
    "prior_hidden": (64, 64),
    "prior_layers": (8, 5),
    "prior_attention": (2, 0),
    "prior_heads": 4,
    "prior_kernel": 3,
    "prior_output": (2, 0),
    "prior_condition": (0, 3),
}


def read(source: str | Path) -> tuple[dict[str, Any], State]:
    """Constructor arguments and state dict of the autoencoder in a file, with priors that are not trained.

    Raises:
        WeightsError: a file that is damaged or hostile, or holds another network.
    """
    tensors = {str(name).removeprefix("module."): value.float() for name, value in read_state_dict(source).items()}
    try:
        config = _config(tensors)
    except (KeyError, ValueError, IndexError):
        raise WeightsError(f"'{source}' holds no autoencoder of vq-vae-2-pytorch") from None
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        state = VQVAE2(**config).state_dict()
    for name, value in tensors.items():
        ours = _name(name)
        state[ours] = value.T.contiguous() if ours.endswith(("codebook", "sums")) else value
    for level in (0, 1):
        state[f"autoencoder.quantisers.{level}.updates"] = torch.ones((), dtype=torch.int64)  # it has been trained
    return config, state


def _name(name: str) -> str:
    network, _, rest = name.partition(".")
    rest = rest.removeprefix("blocks.").replace(".conv.", ".layers.")
    return f"autoencoder.{NETWORKS.get(network, network)}.{BUFFERS.get(rest, rest)}"


def _config(tensors: State) -> dict[str, Any]:
    width, channels = (tensors[f"enc_b.blocks.{i}.weight"].shape[axis] for i, axis in ((2, 0), (0, 1)))
    code_size, codes = tensors["quantize_t.embed"].shape
    residual = [name for name in tensors if re.fullmatch(r"dec\.blocks\.\d+\.conv\.1\.weight", name)]
    return {
        "image_shape": (channels, 256, 256),
        "n_levels": 2,
        "stride": 4,
        "width": width,
        "residual_width": tensors[residual[0]].shape[0],
        "n_residual": len(residual),
        "codes": codes,
        "code_size": code_size,
        **PRIORS,
    }
