"""Writing a weights folder, whole or not at all."""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from zoo import media, registry
from zoo.errors import OptionError, WeightsError, one_line
from zoo.files import digest, whole
from zoo.hub import card
from zoo.hub.config import CARD, CONFIG, CONFIG_LIMIT, FORMAT, STORAGE, TENSORS, parse_config
from zoo.hub.golden import draw_golden
from zoo.media.video import write_clip
from zoo.model import Model
from zoo.version import __version__

SHEET = 8  # clips of a still sheet


def write_folder(
    model: Model,
    folder: str | Path,
    *,
    data: str | None = None,
    training: Mapping[str, Any] | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    licence: str | None = None,
    base_model: str | None = None,
    dtype: str = "float32",
    golden: bool = True,
    card: Callable[[dict[str, Any]], str] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a model as a weights folder, or nothing: all files are complete on disk before the first takes its name,
    and `config.json`, without which nothing loads, comes last. Weights that the folder holds are replaced.

    Args:
        data: what the model was trained on.
        training: receipt of the run (examples, minutes, device, seed, ...).
        metrics: receipts with at least name, value, data, split and count.
        licence: of the weights.
        base_model: "owner/repo" of the weights that these were made from, if any.
        dtype: storage of floating tensors, "float32", "float16" or "bfloat16".
        golden: store a sample by which a later check knows the model again.
        card: makes the text of README.md from the config.
        files: more files, by name.

    Raises:
        WeightsError: a full disk, a folder that can't be written or has files of these names that are not of weights,
            or what a config can't hold.
    """
    if dtype not in STORAGE:
        raise OptionError(f"dtype takes one of {', '.join(STORAGE)}, not {dtype!r}")
    folder = Path(folder).expanduser()
    others = [*(files or {}), TENSORS, *([CARD] if card else [])]
    _check_target(folder, [CONFIG, *others])
    tensors = _tensors(model, getattr(torch, dtype))
    info = {"data": data, "training": training, "licence": licence, "base_model": base_model}
    config = _new_config(model, dtype, **info, metrics=[dict(receipt) for receipt in metrics] or None)
    if golden and (sample := draw_golden(model, tensors if dtype != "float32" else None)):
        config["golden"] = sample
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:  # they take their names in the opposite order
            parts = {name: stack.enter_context(whole(folder / name)) for name in (CONFIG, *others)}
            _write_tensors(tensors, parts[TENSORS])
            config["weights"] = {"sha256": digest(parts[TENSORS]), "size": parts[TENSORS].stat().st_size}
            contents = {**(files or {}), CONFIG: _dump(config)} | ({CARD: card(config).encode()} if card else {})
            for name, content in contents.items():
                parts[name].write_bytes(content)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"can't write '{folder}': {one_line(getattr(error, 'strerror', None) or error)}") from None
    finally:
        with suppress(OSError):
            for path in made:  # empty unless all went well
                path.rmdir()
    return folder


def _check_target(folder: Path, names: Iterable[str]) -> None:
    """Raise WeightsError if files of these names would be overwritten that no zoo wrote: by its config or its card a
    folder of weights is known, even one that is damaged or was left half written."""
    for name, mark in ((CONFIG, b'"zoo_version"'), (CARD, b"library_name: pixelzoo")):
        with suppress(OSError):
            if mark in (folder / name).read_bytes():
                return
    if taken := [name for name in names if (folder / name).exists()]:
        text = f"'{folder}' is no weights folder, but has a file {taken[0]}, which would be overwritten; choose another"
        raise WeightsError(one_line(text))


def _new_config(model: Model, dtype: str, **optional: Any) -> dict[str, Any]:
    owner = registry.owner(model.spec)
    return {
        "format": FORMAT,
        "model": model.spec.name,
        "config": dict(model.config),
        "plugin": {"distribution": owner.distribution, "version": owner.version},
        "zoo_version": __version__,
        "dtype": dtype,
        **({"classes": list(model.class_names)} if model.class_names else {}),
        **{key: value for key, value in optional.items() if value is not None},
    }


def _dump(config: dict[str, Any]) -> bytes:
    """The config as text that `parse_config` accepts."""
    try:
        text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise WeightsError(f"the config can't be stored as JSON: {one_line(error)}") from None
    if len(text) > CONFIG_LIMIT:
        raise WeightsError(f"the config has {len(text)} bytes; at most {CONFIG_LIMIT} can be stored")
    parse_config(text)
    return text


def _tensors(model: Model, storage: torch.dtype) -> dict[str, torch.Tensor]:
    """The state of a model on the CPU, contiguous, no two tensors in one memory (safetensors refuses that)."""
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise WeightsError(f"the state '{name}' is a {type(value).__name__}; only tensors can be stored")
        tensor = value.detach().to("cpu", storage if value.is_floating_point() else value.dtype).contiguous()
        address = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if address in seen else tensor
        seen.add(address)
    return tensors


def _write_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    path.touch()
    mode = path.stat().st_mode  # safetensors may replace the file by one that is private to the user
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(mode)


def save(
    model: Model,
    folder: str | Path,
    *,
    samples: int = 16,
    options: Mapping[str, Any] | None = None,
    limitations: str | None = None,
    **info: Any,
) -> Path:
    """Write a model as a weights folder with its card and pictures of samples; whole or not at all.

    Args:
        samples: how many to show in `samples.png`; 0 for none. Of clips a few as a still sheet, and all of them moving
            in `samples.gif`.
        options: of `model.sample` for what is shown; by default the model's examples.
        limitations: text for the card.
        info: `data`, `training`, `metrics`, `licence`, `base_model`, `dtype`, `golden` of `write_folder`.

    Raises:
        WeightsError: no model of the zoo, or as of `write_folder`.
    """
    if not isinstance(model, Model) or not hasattr(model, "spec"):
        raise WeightsError("only a model of the zoo can be saved, made with zoo.build or zoo.load")
    files = _samples(model, samples, options)
    return write_folder(
        model,
        folder,
        card=lambda config: card.render(model.spec, config, samples=list(files), limitations=limitations),
        files=files,
        **info,
    )


def _samples(model: Model, n: int, options: Mapping[str, Any] | None) -> dict[str, bytes]:
    """Files that show n samples, beside the pictures or clips that they are drawn from; none of a model that samples
    only from inputs, or codes."""
    if not n:
        return {}
    given = dict(model.examples(n) if options is None else options)
    try:
        drawn = model.sample(n, seed=0, **given)
    except OptionError:
        return {}
    if model.levels > 256 or drawn.shape[-3] not in (1, 3):
        return {}
    drawn = media.to_bytes(drawn, model.levels)
    condition = given.get("condition")
    if not model.spec.is_video:
        pictures = drawn if condition is None else media.beside_conditions(drawn, condition, 1)
        return {"samples.png": _png(media.grid(pictures, None if condition is None else _even(len(pictures))))}
    frames = list(drawn.unbind(1))
    if condition is not None:
        of_frames = condition.unbind(1) if condition.ndim == 5 else [condition] * len(frames)
        frames = [media.beside_conditions(frame, given, 1) for frame, given in zip(frames, of_frames, strict=False)]
    sheet = torch.stack(frames, 1)[:SHEET]  # N T C H W
    columns = None if condition is None else _even(len(frames[0]))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "samples.gif"
        times = [1000 / model.fps] * len(frames)
        write_clip([media.grid(frame, columns) for frame in frames], path, times)
        moving = path.read_bytes()
    return {"samples.gif": moving, "samples.png": _png(media.grid(sheet.flatten(0, 1), sheet.shape[1]))}


def _even(n: int) -> int:
    """Columns of a nearly square grid of pairs."""
    return 2 * max(1, round(math.sqrt(n) / 2))


def _png(image: torch.Tensor) -> bytes:
    content = io.BytesIO()
    media.to_pil(image).save(content, "PNG")
    return content.getvalue()
