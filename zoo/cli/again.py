"""`zoo sample --like`: the flags that drew a picture, read from it; and what a new picture will say of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zoo.cli.console import expand
from zoo.cli.options import clip_files, frame_files
from zoo.errors import OptionError, WeightsError
from zoo.files import digest
from zoo.media import origin
from zoo.media.origin import Origin
from zoo.spec import REPO_AT, ModelSpec

if TYPE_CHECKING:
    from zoo.model import Model

# Flags that have places of their own in an origin, say where and how fast samples are drawn, or are paths.
ELSEWHERE = {"model", "weights", "locked", "n", "out", "form", "seed", "start", "batch_size", "device", "assignments"}
ELSEWHERE |= {"like", "sidecar", "as_json", "target"}


def given(ctx: click.Context, name: str) -> bool:
    """Whether the user typed this parameter."""
    return ctx.get_parameter_source(name) not in (None, ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)


def fill_in(ctx: click.Context, like: str) -> Origin:
    """Set what the user did not type to what a picture says of itself; options that are typed replace the picture's.

    Raises:
        DataError: the picture says nothing.
        OptionError: it was drawn from files that are not given again, or from other ones.
    """
    said, params = origin.read(Path(like)), ctx.params
    typed = {text.partition("=")[0] for text in params["assignments"]}
    if given(ctx, "model") and params["model"].partition(":")[0] != said.model:
        raise OptionError(f"'{like}' is by {said.model}, not by {params['model']}")
    found: dict[str, Any] = {"seed": said.seed, "start": said.index, "n": said.n, "model": said.model, **said.flags}
    if ":" not in (params["model"] or "") and params["locked"] is None:
        found["weights"] = said.weights
    known = {param.name: param for param in ctx.command.params}
    for name, value in found.items():
        if name in known and not given(ctx, name):
            text = value if isinstance(value, bool) or value is None else str(value)
            params[name] = known[name].type_cast_value(ctx, text)
    params["assignments"] += tuple(text for text in said.assignments() if text.partition("=")[0] not in typed)
    for name in said.inputs:
        if name not in typed and not (name == "target" and params["target"]):
            flag = "--target FILE" if name == "target" else f"--option {name}=FILE"
            raise OptionError(f"'{like}' was drawn from a file that it does not hold; give it again with {flag}")
    return said


def check_weights(said: Origin, model: Model, like: str) -> None:
    """Raise WeightsError if these are not the weights that drew a picture."""
    if said.sha256 and model.weights_sha256 != said.sha256:
        raise WeightsError(
            f"'{like}' was drawn with weights of sha256 {said.sha256[:12]}..., and these have "
            f"{(model.weights_sha256 or 'none')[:12]}...; --weights FOLDER says where the others are"
        )


def describe(ctx: click.Context, spec: ModelSpec, model: Model, weights: str | None, plan: Any) -> Origin:
    """What is to be said of the samples of a plan."""
    from zoo.media.images import picture_files

    flags = {name: ctx.params[name] for name in ctx.params if name not in ELSEWHERE and ctx.params[name] is not None}
    defaults = {param.name: param.get_default(ctx) for param in ctx.command.params}
    public = weights is not None and (weights in spec.weights or (REPO_AT.fullmatch(weights) and "@" in weights))
    files = dict(plan.files)
    if plan.target:
        find = clip_files if spec.is_video else picture_files
        files["target"] = find(Path(expand(plan.target)))
    return Origin(
        model=spec.name,
        weights=weights if public else None,
        sha256=model.weights_sha256,
        seed=plan.seed,
        index=plan.start,
        n=plan.n,
        options=dict(plan.options),
        inputs={name: _digests(paths) for name, paths in files.items()},
        flags={name: value for name, value in flags.items() if value != defaults.get(name)},
    )


def _digests(paths: list[Path]) -> list[str | list[str]]:
    """sha256 of each file, and of a folder those of its frames; a pipe is read but once, so it has none."""
    frames = {path: frame_files(path) for path in paths if path.is_dir()}
    files = (path for path in paths if path in frames or path.is_file())
    return [[digest(frame) for frame in frames[path]] if path in frames else digest(path) for path in files]
