"""The golden sample: one picture stored with the weights, by which a later check knows the model again.

It is drawn on the CPU in fp32, whatever torch's defaults are.
"""

from __future__ import annotations

import base64
import copy
import math
import zlib
from collections.abc import Mapping
from typing import Any

import torch

from zoo.errors import OptionError, ZooError, one_line
from zoo.hub.config import DamagedError
from zoo.hub.read import usual_defaults
from zoo.model import Model

GOLDEN_LIMIT = 2**19  # characters; larger samples are left out


def draw_golden(model: Model, rounded: dict[str, torch.Tensor] | None) -> dict[str, Any] | None:
    """One sample of the model as it will be loaded; None if it needs inputs, is too large or has over 256 levels."""
    if rounded is not None or model.device.type != "cpu":
        model = copy.deepcopy(model).cpu()
    if rounded is not None:
        model.load_state_dict(rounded)
    try:
        with usual_defaults("cpu"):
            shown = model.examples(1)
            sample = model.sample(1, seed=0, **shown)
    except OptionError:
        return None
    pixels = base64.b64encode(zlib.compress(sample.contiguous().numpy().tobytes(), 9)).decode()
    if sample.dtype != torch.uint8 or len(pixels) > GOLDEN_LIMIT:
        return None
    golden = {"seed": 0, "options": {}, "shape": list(sample.shape), "pixels": pixels}
    return {**golden, "examples": True} if shown else golden


def check_golden(model: Model, golden: Mapping[str, Any]) -> tuple[bool, str]:
    """Draw the golden sample again and compare.

    Returns:
        Whether the mean difference is at most 2 % of the range of levels; and how many sub-pixels are equal, in words.
    """
    shape, size = tuple(golden["shape"]), math.prod(golden["shape"])
    try:
        content = zlib.decompressobj().decompress(base64.b64decode(golden["pixels"], validate=True), size + 1)
    except (ValueError, zlib.error) as error:
        raise DamagedError(f"the golden sample is damaged: {one_line(error)}") from None
    if len(content) != size:
        raise DamagedError("the golden sample is damaged: its pixels do not fill its shape")
    stored = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(shape)
    try:
        with usual_defaults("cpu"):
            shown = model.examples(1) if golden.get("examples") else {}
            drawn = model.sample(1, seed=golden["seed"], **(shown | golden["options"]))
    except ZooError as error:
        return False, f"the golden sample can't be drawn: {one_line(error)}"
    if drawn.shape != stored.shape:
        return False, f"the sample has shape {tuple(drawn.shape)}, not {shape}"
    difference = (drawn.long() - stored.long()).abs()
    equal = int((difference == 0).sum())
    limit = 0.02 * (model.levels - 1)
    mean = float(difference.double().mean())
    return mean <= limit, f"{equal} of {size} sub-pixels are equal, mean difference {mean:.3g} levels"
