"""The whole plugin surface of the zoo: eleven hooks. First-party plugins have no other door.

A plugin is a module (or object) named by an entry point of group "zoo". It implements any of these functions under
`@zoo.hookimpl`; arguments it does not need may be left out. Keep that module free of torch: import the heavy parts
inside the hooks.

Owner-only dispatch: `zoo_build`, `zoo_train`, `zoo_sample` and `zoo_import_weights` are called on the plugin that
declared the model and on nobody else, so there is no "is it mine?" check to write. Hook wrappers of any plugin apply.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from zoo.spec import DataSpec, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    import click
    import torch

    from zoo.model import Model
    from zoo.request import SampleRequest
    from zoo.trainer import RunView, Trainer

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


@hookspec
def zoo_models() -> list[ModelSpec]:  # type: ignore[empty-body]
    """The models this plugin brings."""


@hookspec
def zoo_datasets() -> list[DataSpec]:  # type: ignore[empty-body]
    """The named data sets this plugin brings."""


@hookspec(firstresult=True)
def zoo_build(spec: ModelSpec, config: dict[str, Any]) -> Model:  # type: ignore[empty-body]
    """A fresh model; `config` holds the constructor's keyword arguments, all of them JSON values."""


@hookspec(firstresult=True)
def zoo_train(spec: ModelSpec) -> Callable[..., Trainer]:  # type: ignore[empty-body]
    """What trains the model: a class or function that is called with model, settings, accelerator, and the recipe.

    Its keyword-only arguments are the recipe: names, types and defaults. Presets and `--set` give them values.
    """


@hookspec(firstresult=True)
def zoo_sample(spec: ModelSpec, model: Model, request: SampleRequest) -> torch.Tensor:  # type: ignore[empty-body]
    """One batch of samples, uint8, made from the request's noise on the request's device."""


@hookspec(firstresult=True)
def zoo_import_weights(spec: ModelSpec, source: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:  # type: ignore[empty-body]
    """A foreign checkpoint as constructor arguments and state dict, read without executing anything in it."""


@hookspec
def zoo_commands(app: click.Group) -> None:
    """Verbs for the command line: `app.add_command(verb)` or `@app.command("name")`."""


@hookspec
def zoo_run_started(run: RunView) -> None:
    """A training run is about to take its first step, or its first after a resume."""


@hookspec
def zoo_run_logged(run: RunView, metrics: dict[str, Any]) -> None:
    """A line was added to the run's metrics."""


@hookspec
def zoo_run_checkpointed(run: RunView, path: Path) -> None:
    """A checkpoint was written, whole, to `path`."""


@hookspec
def zoo_run_finished(run: RunView, summary: dict[str, Any]) -> None:
    """The run ended: all examples seen, out of time, or interrupted (`summary["reason"]`)."""
