"""StyleGAN2 generators of other programs: StyleGAN2-ADA's PyTorch pickles and rosinality's checkpoints.

Both hold the network of the paper under names of their own; its parameters have the same shapes and gains as ours. The
file is read as data, see `pickles.py`. Of the networks in it the averaged generator is taken, which draws the samples.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import torch

from zoo.errors import WeightsError, one_line
from zoo.seeds import derive_seed
from zoo_stylegan.layers import ROOT2, widths_of
from zoo_stylegan.mapping import Mapping
from zoo_stylegan.pickles import Foreign, flatten, modules, read_checkpoint
from zoo_stylegan.stylegan2 import TAPS

State = dict[str, torch.Tensor]
MEAN_COUNT = 10_000  # latents whose mean w stands in for one that the file lacks

# What our layers calculate, by StyleGAN2-ADA's modules and their attributes.
ARITHMETIC: dict[str, dict[str, Any]] = {
    r"mapping\.fc\d+": {"activation": "lrelu"},
    r"mapping\.embed|synthesis\.b\d+\.\w+\.affine": {"activation": "linear"},
    r"synthesis\.b\d+": {"architecture": "skip"},
    r"synthesis\.b\d+\.conv[01]": {"activation": "lrelu", "act_gain": ROOT2, "use_noise": True},
    r"synthesis\.b\d+\.conv0": {"up": 2},
    r"synthesis\.b\d+\.conv1": {"up": 1},
}


def read(source: str | Path) -> tuple[dict[str, Any], State]:
    """Constructor arguments and state dict, without a discriminator, of the averaged generator in a file.

    Raises:
        WeightsError: a file that is damaged or hostile, or holds another network.
    """
    content = read_checkpoint(source)
    if isinstance(content, dict) and isinstance(content.get("G_ema"), Foreign):
        clamp, tensors = _ada(content["G_ema"])
    elif isinstance(content, dict) and isinstance(content.get("g_ema"), dict):
        clamp, tensors = 0.0, _rosinality(content)
    else:
        raise WeightsError(
            f"'{source}' holds no generator of StyleGAN2: neither 'G_ema', as StyleGAN2-ADA's .pkl files do, nor "
            "'g_ema', as rosinality's .pt files do"
        )
    try:
        config = {**_config(tensors), "clamp": clamp, "discriminator": False}
    except KeyError as error:
        raise WeightsError(f"the generator in '{source}' is not StyleGAN2's: it has no {error}") from None
    if "generator.mapping.mean_w" not in tensors:
        tensors["generator.mapping.mean_w"] = _mean_w(tensors, config)
    return config, {**tensors, "lod": torch.zeros(())}


def _ada(record: Foreign) -> tuple[float, State]:
    """The clamp of activations, 0 for none, and the tensors of a network of StyleGAN2-ADA, by our names."""
    theirs, clamps = flatten(record), []
    for name, module in modules(record).items():
        for pattern, arithmetic in ARITHMETIC.items():
            for key, ours in arithmetic.items() if re.fullmatch(pattern, name) else ():
                if (said := _said(module, key, ours)) != ours:
                    raise WeightsError(
                        one_line(f"the generator has {key} {said!r} in '{name}'; only {ours!r} is known")
                    )
        if re.fullmatch(r"synthesis\.b\d+\.(conv0|conv1|torgb)", name):
            clamps.append(_said(module, "conv_clamp", None))
        if re.fullmatch(r"mapping\.(fc\d+|embed)|synthesis\.b\d+\.(torgb|\w+\.affine)", name):
            _take_gains(theirs, name, module)
    if any(clamp != clamps[0] or (clamp is not None and not 0 < clamp < math.inf) for clamp in clamps):
        raise WeightsError(one_line(f"the generator has conv_clamp {clamps}; only None or one limit above 0 is known"))
    tensors: State = {}
    for name, tensor in theirs.items():
        if name.endswith("resample_filter"):
            _check_filter(name, tensor, 1)
        elif match := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", name):
            tensors[f"generator.mapping.layers.{match[1]}.{match[2]}"] = tensor
        elif match := re.fullmatch(r"mapping\.embed\.(weight|bias)", name):
            tensors[f"generator.mapping.embed.{match[1]}"] = tensor
        elif name == "mapping.w_avg":
            tensors["generator.mapping.mean_w"] = tensor
        elif name == "synthesis.b4.const":
            tensors["generator.synthesis.constant"] = tensor[None]
        elif match := re.fullmatch(r"synthesis\.b(\d+)\.(conv0|conv1|torgb)\.(.+)", name):
            r = int(match[1]).bit_length() - 1
            if match[3] == "noise_const":
                tensors[f"generator.synthesis.noise_{2 * r - 5 + (match[2] == 'conv1')}"] = tensor[None, None]
            else:
                tensors[f"{_layer(r, {'conv0': 'up', 'conv1': 'conv', 'torgb': 'to_rgb'}[match[2]])}.{match[3]}"] = (
                    tensor
                )
        else:
            raise WeightsError(f"the generator is not StyleGAN2's: it has '{name}'")
    return float(clamps[0] or 0.0) if clamps else 0.0, tensors


def _rosinality(content: dict[str, Any]) -> State:
    """The tensors of a checkpoint of rosinality's stylegan2-pytorch, by our names."""
    tensors: State = {}
    for name, tensor in content["g_ema"].items():
        if not isinstance(tensor, torch.Tensor):
            raise WeightsError(f"'{name}' of 'g_ema' is no tensor")
        if name.endswith(".kernel"):
            _check_filter(name, tensor, 4)
        elif match := re.fullmatch(r"style\.([1-9]\d*)\.(weight|bias)", name):
            if match[2] == "weight" and tensor.shape[:1] != tensor.shape[1:]:
                raise WeightsError(f"'{name}' is {tuple(tensor.shape)}; rosinality's layers from z to w are square")
            tensors[f"generator.mapping.layers.{int(match[1]) - 1}.{match[2]}"] = tensor
        elif name == "input.input":
            tensors["generator.synthesis.constant"] = tensor
        elif match := re.fullmatch(r"noises\.(noise_\d+)", name):
            tensors[f"generator.synthesis.{match[1]}"] = tensor
        elif match := re.fullmatch(r"(conv1|to_rgb1|(convs|to_rgbs)\.(\d+))\.(.+)", name):
            number = int(match[3] or 0)
            if match[2] == "convs":
                layer = _layer(number // 2 + 3, "conv" if number % 2 else "up")
            else:
                layer = _layer(number + 3 if match[2] else 2, "conv" if match[1] == "conv1" else "to_rgb")
            ours, tensor = _rosinality_part(name, match[4], tensor)
            tensors[f"{layer}.{ours}"] = tensor
        else:
            raise WeightsError(f"'g_ema' is not StyleGAN2's generator: it has '{name}'")
    if isinstance(mean := content.get("latent_avg"), torch.Tensor):
        tensors["generator.mapping.mean_w"] = mean.reshape(-1)
    return tensors


def _rosinality_part(name: str, part: str, tensor: torch.Tensor) -> tuple[str, torch.Tensor]:
    """Our name and shape of a tensor of one layer."""
    if part == "conv.weight":
        return "weight", tensor.squeeze(0)
    if part == "noise.weight":
        return "noise_strength", tensor.reshape(())
    if part in ("activate.bias", "bias"):
        return "bias", tensor.reshape(-1)
    if match := re.fullmatch(r"conv\.modulation\.(weight|bias)", part):
        return f"affine.{match[1]}", tensor
    raise WeightsError(f"'g_ema' is not StyleGAN2's generator: it has '{name}'")


def _said(module: Foreign, name: str, default: Any) -> Any:
    """What a module of StyleGAN2-ADA calculates with: its attribute, or what it was made with, or else the default."""
    arguments = module.state.get("_init_kwargs", {})
    return module.state.get(name, arguments.get(name, default) if isinstance(arguments, dict) else default)


def _take_gains(tensors: State, name: str, module: Foreign) -> None:
    """Scale weight and bias of a layer by what its gains are more than ours. They follow from its learning rate."""
    ours = 0.01 if name.startswith("mapping.fc") else 1.0
    rate = _said(module, "lr_multiplier", ours)
    inputs = math.sqrt(tensors[f"{name}.weight"].shape[1])
    gains = {"weight": _said(module, "weight_gain", rate / inputs) * inputs, "bias": _said(module, "bias_gain", rate)}
    for part, gain in gains.items():
        if not 0 < gain < math.inf:
            raise WeightsError(f"the generator has {part}_gain {gain} in '{name}'; only numbers above 0 are known")
        if not math.isclose(gain, ours, rel_tol=1e-6) and f"{name}.{part}" in tensors:
            tensors[f"{name}.{part}"] = tensors[f"{name}.{part}"] * (gain / ours)


def _layer(r: int, part: str) -> str:
    """Our name of a layer of the resolution 2^r."""
    return f"generator.synthesis.{part if r == 2 else f'blocks.{r - 3}.{part}'}"


def _check_filter(name: str, tensor: torch.Tensor, gain: float) -> None:
    """Raise WeightsError unless a resampling filter is ours, with a sum of `gain`."""
    taps = torch.tensor(TAPS, dtype=torch.float32)
    kernel = gain * torch.outer(taps, taps) / taps.sum() ** 2
    if tensor.shape != kernel.shape or not torch.allclose(tensor.float(), kernel):
        raise WeightsError(f"'{name}' is another resampling filter than {list(TAPS)} with a sum of {gain:g}")


def _config(tensors: State) -> dict[str, Any]:
    """Constructor arguments that make a generator of these shapes; KeyError for a tensor that must be there."""
    blocks = {int(match[1]) for key in tensors if (match := re.search(r"synthesis\.blocks\.(\d+)\.", key))}
    level = 2 + len(blocks)
    widths = {2: tensors["generator.synthesis.constant"].shape[1]}
    widths |= {r: tensors[f"{_layer(r, 'conv')}.weight"].shape[0] for r in range(3, level + 1)}
    base, most = widths[level] * 2 ** (level - 1), max(widths.values())
    if {r: w for r, w in widths_of(level, base, most).items() if r > 1} != widths:
        raise WeightsError(f"the generator has {list(widths.values())} features by resolution, which halve nowhere")
    first = tensors["generator.mapping.layers.0.weight"]
    embed = tensors.get("generator.mapping.embed.weight", torch.empty(0, 0))
    return {
        "resolution": 2**level,
        "channels": tensors[f"{_layer(level, 'to_rgb')}.weight"].shape[0],
        "classes": embed.shape[1],
        "latent_size": first.shape[1] - embed.shape[0],
        "w_size": first.shape[0],
        "mapping_layers": sum(bool(re.search(r"mapping\.layers\.\d+\.weight$", key)) for key in tensors),
        "width_base": base,
        "width_max": most,
    }


def _mean_w(tensors: State, config: dict[str, Any]) -> torch.Tensor:
    """The mean w of random latents, for a file that does not have it."""
    prefix = "generator.mapping."
    mapping = Mapping(config["latent_size"], config["w_size"], config["mapping_layers"], config["classes"])
    known = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    try:
        mapping.load_state_dict(known, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"the mapping network is not StyleGAN2's: {str(error).splitlines()[-1].strip()}") from None
    source = torch.Generator().manual_seed(derive_seed(0, "mean w"))
    with torch.no_grad():
        z, label = torch.randn(MEAN_COUNT, config["latent_size"], generator=source), torch.arange(MEAN_COUNT)
        return mapping(z, label % config["classes"] if config["classes"] else None).mean(0)
