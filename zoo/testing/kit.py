"""The checks. Everything runs on the model's "tiny" preset, on a CPU, in seconds."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo import building, hub, registry
from zoo.model import Model
from zoo.settings import Settings
from zoo.spec import ModelSpec
from zoo.train.accelerator import make_accelerator
from zoo.train.state import load_state, take_state


@dataclass(frozen=True)
class Result:
    """One line of the report; `status` is "pass", "fail" or "n/a"."""

    name: str
    status: str
    detail: str = ""


class NotApplicableError(Exception):
    """Raised by a check that says nothing about this model; the message says why."""


CHECKS: dict[str, Callable[[ModelSpec], str | None]] = {}


def _check(function: Callable[[ModelSpec], str | None]) -> Callable[[ModelSpec], str | None]:
    CHECKS[function.__name__.removeprefix("check_")] = function
    return function


def check(name: str, only: str | None = None) -> list[Result]:
    """Run the kit on a registered model; raises UnknownNameError if there is none of that name."""
    spec = registry.model_spec(name)
    return [_run(check_name, spec) for check_name in CHECKS if only in (None, check_name)]


def _run(name: str, spec: ModelSpec) -> Result:
    try:
        return Result(name, "pass", CHECKS[name](spec) or "")
    except NotApplicableError as error:
        return Result(name, "n/a", str(error))
    except Exception as error:  # a plugin may raise anything; the report says what
        return Result(name, "fail", f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def expect(condition: bool, text: str) -> None:
    """An assertion that survives `python -O`."""
    if not condition:
        raise AssertionError(text)


def tiny(spec: ModelSpec, seed: int = 0) -> Model:
    """The tiny preset with fixed random weights."""
    torch.manual_seed(seed)
    return building.build(spec.name, "tiny")


def random_images(model: Model, n: int, seed: int = 0) -> torch.Tensor:
    """Random pictures (or clips) in the range that the model models."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, model.levels, (n, *model.image_shape), generator=generator)


def random_batch(model: Model, n: int, seed: int = 0) -> dict[str, Any]:
    """A batch of random data as `step` gets it: by the model's `batch_shapes`, label maps of its classes."""
    generator = torch.Generator().manual_seed(seed)
    batch: dict[str, Any] = {}
    for name, shape in model.batch_shapes.items():
        if shape:
            values = model.input_classes.get(name, 256)
            batch[name] = torch.randint(0, values, (n, *shape), generator=generator).to(torch.uint8)
        else:
            batch[name] = [f"text {i % 2}" for i in range(n)] if name == "caption" else torch.arange(n) % 2
    return batch


def draw(model: Model, n: int, *, start: int = 0, **options: Any) -> torch.Tensor:
    """Samples with the options by which the model is shown."""
    shown = model.examples(start + n)
    per_sample = {option.name for option in model.spec.sample_options if option.per_sample}
    shown = {name: value[start:] if name in per_sample else value for name, value in shown.items()}
    return model.sample(n, start=start, **{**shown, **options})


@_check
def check_spec(spec: ModelSpec) -> None:
    """The spec is well formed, and every weights tag is pinned."""
    expect(not spec.problems(), "; ".join(spec.problems()))


@_check
def check_plugin_is_torch_free(spec: ModelSpec) -> None:
    """Importing the plugin module imports no torch, so that `zoo list` stays quick."""
    module = registry.owner(spec).value
    code = (
        "import sys, zoo; zoo.models(); assert 'torch' not in sys.modules, 'zoo.models() imports torch';"
        f"import {module}; assert 'torch' not in sys.modules"
    )
    done = _python(code)
    expect(done.returncode == 0, f"{module} imports torch" if "AssertionError" in done.stderr else done.stderr[-300:])


@_check
def check_docs(spec: ModelSpec) -> None:
    """The class has a docstring, and every constructor argument is described in it."""
    model = tiny(spec)
    text = type(model).__doc__ or ""
    expect(len(text.strip()) > 20, f"{type(model).__name__} has no docstring")
    missing = [name for name in model.config if name not in text]
    expect(not missing, f"the docstring of {type(model).__name__} does not describe {', '.join(missing)}")


@_check
def check_gradients(spec: ModelSpec) -> str:
    """Two training steps: finite metrics, and every parameter receives a gradient and moves."""
    model = tiny(spec)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for metrics in _train_steps(spec, model, 2):
        bad = [name for name, value in metrics.items() if not math.isfinite(float(value))]
        expect(not bad, f"{', '.join(bad)} not finite")
    still = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    expect(not still, f"never moved: {', '.join(still[:5])}")
    return f"{len(before)} tensors moved"


@_check
def check_bf16(spec: ModelSpec) -> None:
    """Training steps in bf16 give finite metrics and leave weights in the type that they had."""
    model = tiny(spec)
    types = {name: value.dtype for name, value in model.state_dict().items()}
    for metrics in _train_steps(spec, model, 2, precision="bf16"):
        bad = [name for name, value in metrics.items() if not math.isfinite(float(value))]
        expect(not bad, f"{', '.join(bad)} not finite")
    changed = [name for name, value in model.state_dict().items() if value.dtype != types[name]]
    expect(not changed, f"of another type: {', '.join(changed[:5])}")


@_check
def check_resume(spec: ModelSpec) -> None:
    """Stopped after two steps and resumed, training gives the same weights, bit for bit."""
    models = [tiny(spec), tiny(spec)]
    list(_train_steps(spec, models[0], 4))
    states: list[dict[str, Any]] = []
    list(_train_steps(spec, models[1], 2, states=states))
    fresh = tiny(spec, seed=1)
    list(_train_steps(spec, fresh, 4, restore=states[-1]))
    for name, value in fresh.state_dict().items():
        expect(torch.equal(value, models[0].state_dict()[name]), f"{name} differs after the resume")


@_check
def check_save_and_load(spec: ModelSpec) -> None:
    """A saved model loads with equal weights and samples."""
    model = tiny(spec).eval()
    with tempfile.TemporaryDirectory() as folder:
        hub.save(model, folder, samples=0)
        _expect_same(model, hub.load(spec.name, weights=folder, device="cpu"))


@_check
def check_publish_and_load(spec: ModelSpec) -> str:
    """What would be published, as one commit, loads with equal weights and samples."""
    model = tiny(spec).eval()
    with tempfile.TemporaryDirectory() as name:
        saved = hub.save(model, Path(name) / "weights", samples=4, licence="mit")
        package, fetched = hub.prepare(saved, f"me/{spec.name}"), Path(name) / "fetched"
        fetched.mkdir()
        for path, content in package.files.items():
            (fetched / path).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        _expect_same(model, hub.load(str(fetched), device="cpu"))
    return ", ".join(sorted(package.files))


def _expect_same(model: Model, loaded: Model) -> None:
    expect(loaded.spec.name == model.spec.name, f"it came back as {loaded.spec.name}")
    expect(loaded.config == model.config, f"it came back as {loaded.config}, not {model.config}")
    for name, value in model.state_dict().items():
        expect(torch.equal(value, loaded.state_dict()[name]), f"{name} differs")
    expect(torch.equal(draw(model, 2), draw(loaded, 2)), "samples differ")


@_check
def check_samples(spec: ModelSpec) -> str:
    """Sample i of seed s is the same in batches of 1, 3 and all; other seeds (if it has noise) and indices differ."""
    model = tiny(spec).eval()
    expect(len(draw(model, 0)) == 0, "no samples are asked for, and some are drawn")
    whole = draw(model, 5, seed=3)
    for size in (1, 3):
        expect(_close(whole, draw(model, 5, seed=3, batch_size=size)), f"samples change with batch_size={size}")
    expect(_close(whole[2:], draw(model, 3, seed=3, start=2)), "start=2 does not continue the same samples")
    if model.has_noise:
        expect(not torch.equal(whole, draw(model, 5, seed=4)), "another seed gives the same samples")
    else:
        expect(torch.equal(whole, draw(model, 5, seed=4)), "it claims no noise, but another seed gives other samples")
    expect(not torch.equal(whole[0], whole[1]), "all samples are the same")
    return f"{tuple(whole.shape[1:])}, {whole.dtype}"


@_check
def check_normalised(spec: ModelSpec) -> str:
    """If the model has a likelihood: the probabilities of all 512 binary 3x3 pictures sum to 1."""
    if not tiny(spec).has_likelihood:
        raise NotApplicableError("it claims no likelihood")
    torch.manual_seed(0)
    nine, known = {"image_shape": (1, 3, 3), "levels": 2}, building.schema(spec)
    model = building.build(spec.name, "tiny", **{name: value for name, value in nine.items() if name in known}).double()
    if any(getattr(model, name) != value for name, value in nine.items()):
        raise NotApplicableError("its tiny preset can't be set to 3x3 pixels of 2 levels")
    pictures = torch.tensor(list(itertools.product((0, 1), repeat=9)), dtype=torch.uint8).view(512, 1, 3, 3)
    with torch.no_grad():
        total = float(model.log_prob(pictures).exp().sum())
    expect(abs(total - 1) < 1e-5, f"they sum to {total}")
    return f"sum {total:.8f}"


@_check
def check_causal(spec: ModelSpec) -> None:
    """If it is autoregressive: no logit depends on its own or a later sub-pixel."""
    if spec.kind != "autoregressive":
        raise NotApplicableError("it is not autoregressive")
    model = tiny(spec).double().eval()  # in double precision rounding stays far below any dependence
    image = random_images(model, 1)
    conditions = model.conditions({"label": torch.zeros(1, dtype=torch.int64)}, 1)  # type: ignore[operator]
    with torch.no_grad():
        base = model(image, **conditions).permute(0, 3, 4, 2, 1).flatten(1, 3)[0]  # H*W*C L, in the order of drawing
        for position in range(base.shape[0]):
            changed = image.permute(0, 2, 3, 1).flatten().clone()
            changed[position] = (changed[position] + 1) % model.levels
            _, c, h, w = image.shape
            changed = changed.view(1, h, w, c).permute(0, 3, 1, 2)
            moved = model(changed, **conditions).permute(0, 3, 4, 2, 1).flatten(1, 3)[0]
            leak = (moved[: position + 1] - base[: position + 1]).abs().max()
            expect(float(leak) < 1e-10, f"sub-pixel {position} reaches a logit at or before itself")


@_check
def check_cached(spec: ModelSpec) -> None:
    """If it has a fast sampler: the same pictures as the slow one."""
    methods = [option for option in spec.sample_options if option.name == "method"]
    if not methods or "naive" not in methods[0].choices:
        raise NotApplicableError("it has one sampling method")
    model = tiny(spec).eval()
    slow = draw(model, 4, seed=1, method="naive")
    for method in methods[0].choices:
        expect(_close(slow, draw(model, 4, seed=1, method=method)), f"method '{method}' differs from 'naive'")


@_check
def check_longer_clips(spec: ModelSpec) -> str:
    """If it draws clips: a longer one begins with the shorter, and the frames of `stream` are those of `sample`."""
    if not spec.is_video:
        raise NotApplicableError("it draws pictures")
    model = tiny(spec).eval()
    clips = draw(model, 2, seed=1)
    frames = clips.shape[1]
    shown = model.examples(2)
    expect(_close(clips[:, :-1], draw(model, 2, seed=1, frames=frames - 1)), "a shorter clip is another one")
    streamed = torch.stack(list(model.stream(2, seed=1, frames=frames, **shown)), 1)
    expect(_close(clips, streamed), "the frames of stream are not those of sample")
    return f"{frames} frames"


@_check
def check_gpu_agrees(spec: ModelSpec) -> None:
    """If there is a CUDA device: it draws the same samples as the CPU."""
    if not torch.cuda.is_available():
        raise NotApplicableError("there is no CUDA device")
    model = tiny(spec).eval()
    ours = draw(model, 4, seed=1)
    expect(_close(ours, draw(model.cuda(), 4, seed=1)), "CPU and GPU samples differ")


def _close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Equal but for rounding: one level here and there."""
    difference = (ours.long() - theirs.long()).abs()
    return ours.shape == theirs.shape and int(difference.max()) <= 1 and float((difference > 0).float().mean()) < 0.01


def _python(
    code: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that finds the same packages as this one."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    variables = {**(os.environ if environment is None else environment), "PYTHONPATH": path}
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def _train_steps(
    spec: ModelSpec,
    model: Model,
    steps: int,
    *,
    restore: dict[str, Any] | None = None,
    states: list[dict[str, Any]] | None = None,
    precision: str = "fp32",
) -> Iterator[dict[str, torch.Tensor]]:
    """Steps of the model's own trainer on random pictures, with a state before them or one taken after each."""
    run = {"data": "random", "out": "", "examples": 64, "batch_size": 4, "device": "cpu", "precision": precision}
    settings = Settings(model=spec.name, **run)  # type: ignore[arg-type]
    accelerator = make_accelerator(settings)
    trainer = building.make_trainer(spec, model, settings, accelerator, spec.preset("tiny").recipe)
    first = 0
    if restore:
        first = restore["steps"]
        load_state(trainer, accelerator, restore)
    for step in range(first, steps):
        batch = random_batch(model, 4, seed=step)
        torch.manual_seed(step)
        model.train()
        yield trainer.step(batch, 4 * step)
        if states is not None:
            states.append({"steps": step + 1, **take_state(trainer, accelerator)})
