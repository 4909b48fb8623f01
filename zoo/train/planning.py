"""What a run will be, before it is one: the model, the recipe, and whether the data have what training needs."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from zoo import building, hub, registry
from zoo.data.examples import Examples
from zoo.data.order import Shuffled, Stream
from zoo.data.tables import load
from zoo.errors import DataError, OptionError, TrainingError
from zoo.hub.config import read_config
from zoo.hub.resolve import resolve
from zoo.model import Model
from zoo.precision import fast_precision
from zoo.seeds import derive_seed
from zoo.settings import Settings
from zoo.spec import ModelSpec
from zoo.train.checkpoints import Checkpoints


def plan(settings: Settings) -> dict[str, Any]:
    """The resolved run, without starting it: settings, constructor arguments, parameter count, data."""
    settings.check()
    settings = replace(settings, precision=fast_precision(settings.precision, settings.device))
    spec, model = build(settings, device="meta")
    data: dict[str, Any] = {"name": settings.data, "batch": {k: list(s) for k, s in model.batch_shapes.items()}}
    if not settings.stream:
        train = load(settings.data, "train", model.batch_shapes, **reading(settings, model))
        check_batch(model, train)
        if is_judged(settings, spec, model):  # held-out examples are read too, so that what is wrong shows now
            check_captions(model, load(settings.data, "validation", model.batch_shapes, **reading(settings, model)))
        data |= {"first": train.first()} if "condition" in model.batch_shapes else {}
        data |= {"train": len(train), "columns": {key: c.column for key, c in train.reader.cells.items()}}
    return {
        "settings": asdict(settings),
        "config": dict(model.config),
        "recipe": recipe(settings),
        "parameters": sum(p.numel() for p in model.parameters()),
        "data": data,
        "paper": spec.paper,
    }


def is_judged(settings: Settings, spec: ModelSpec, model: Model) -> bool:
    """Whether a run measures its model on held-out examples."""
    return bool(settings.eval_every) and (model.has_likelihood or hasattr(registry.call(spec, "zoo_train"), "evaluate"))


def build(settings: Settings, device: str) -> tuple[ModelSpec, Model]:
    """The model that a run begins with: fresh, or with the weights of `settings.init`."""
    spec = registry.model_spec(settings.model)
    torch.manual_seed(derive_seed(settings.seed, "weights"))
    if settings.init is not None:
        return spec, _initial(spec, settings)
    with torch.device(device):
        return spec, building.build(settings.model, settings.preset, **settings.overrides)


def rebuild(settings: Settings) -> tuple[ModelSpec, Model]:
    """The model of the run in `settings.out`, with fresh weights if it has a checkpoint that will replace them."""
    folder = Path(settings.out)
    if settings.init is None or Checkpoints(folder / "checkpoints").last is None:
        return build(settings, "cpu")
    spec = registry.model_spec(settings.model)  # the weights that it began with may be gone by now
    return spec, building.build_from_config(spec, Settings.described(folder)["config"])


def begun_with(settings: Settings) -> dict[str, Any] | None:
    """What a run notes of the weights that it begins with, or noted of them when it began: their repository unless they
    are a folder, their sha256, and the examples that they have seen."""
    if settings.init is None:
        return None
    folder = Path(settings.out)
    if Checkpoints(folder / "checkpoints").last is not None:
        noted: dict[str, Any] | None = Settings.described(folder).get("begun_with")
        return noted
    spec = registry.model_spec(settings.model)
    config = read_config(resolve(spec, settings.init)[0])  # verified when they were loaded
    before = config.raw.get("training", {})
    seen = before.get("examples", 0) + before.get("begun_with", {}).get("examples", 0)
    place = spec.weights[settings.init].repo if settings.init in spec.weights else settings.init
    named = {} if Path(place).expanduser().is_dir() else {"weights": place}
    return {**named, "sha256": config.sha256, "examples": seen}


def _initial(spec: ModelSpec, settings: Settings) -> Model:
    """The model that begins with existing weights: of their architecture, and with fresh weights where released ones
    lack what only training needs, such as a discriminator."""
    weights = hub.load(spec.name, weights=settings.init, device="cpu")
    chosen = {**spec.preset(settings.preset).model, **settings.overrides}
    missing = {name: True for name in _left_out(spec, weights.config) if name not in chosen}
    fresh = building.build_from_config(spec, {**weights.config, **chosen, **missing})
    given, wanted = fresh.grown(weights), fresh.state_dict()
    for name, value in given.items():
        if name not in wanted or wanted[name].shape != value.shape:
            raise TrainingError(f"the weights in '{settings.init}' do not fit this {spec.name}: '{name}' differs")
    fresh.load_state_dict({**wanted, **given})
    return fresh


def _left_out(spec: ModelSpec, config: dict[str, Any]) -> list[str]:
    """Arguments that are off in these because the weights were released, not because their network is like that."""
    off = [name for name, value in building.schema(spec).defaults().items() if value is True and not config.get(name)]
    found = []
    for name in off:
        try:
            with torch.device("meta"):
                whole = building.build_from_config(spec, {**config, name: True})
        except OptionError:  # they can't be trained with it
            continue
        if not whole.released().config[name]:
            found.append(name)
    return found


def recipe(settings: Settings) -> dict[str, Any]:
    """What the trainer gets: its defaults, the preset's recipe on top of them, and on top of that the settings'."""
    spec = registry.model_spec(settings.model)
    return building.schema(spec, "recipe").check({**spec.preset(settings.preset).recipe, **settings.recipe})


def reading(settings: Settings, model: Model) -> dict[str, Any]:
    """How the data of a run are read: the keywords of `load` and `stream`. OptionError for a stride between frames of a
    model that learns from pictures."""
    if settings.frame_stride != 1 and not any(len(shape) == 4 for shape in model.batch_shapes.values()):
        raise OptionError(f"frame_stride is of clips, and {model.spec.name} learns from pictures")
    return {
        "threads": settings.workers,
        "resize": settings.resize,
        "stride": settings.frame_stride,
        "seed": settings.seed,
        "columns": settings.columns,
        "pairs": settings.pairs,
        "optional": model.optional_shapes,
        "who": model.spec.name,
    }


def described(feed: Shuffled | Stream) -> dict[str, Any]:
    """What a run notes of its data: where a local path leads, how many examples, and a fingerprint of them."""
    source = feed.source
    local = registry.data_spec(source.name) is None and Path(source.name).expanduser().exists()
    place = str(Path(source.name).expanduser().resolve()) if local else None
    noted: dict[str, Any] = {"licence": source.spec.licence, "place": place}
    if isinstance(feed, Shuffled):
        noted |= {"examples": len(feed.examples), "fingerprint": feed.examples.fingerprint()}
    return noted


def check_same(folder: Path, data: dict[str, Any]) -> None:
    """Raise TrainingError unless these are the data that the run in `folder` began with."""
    before = Settings.described(folder).get("data", {})
    if before.get("examples", data.get("examples")) != data.get("examples"):
        how = f"{before['examples']} examples, now {data['examples']}"
    elif before.get("fingerprint", data.get("fingerprint")) != data.get("fingerprint"):
        how = "other examples or labels"
    else:
        return
    raise TrainingError(f"the data of the run in '{folder}' have changed: {how}; put them back, or start a new run")


def check_batch(model: Model, data: Examples | Stream) -> None:
    """Raise DataError if the data lack labels or captions that `step` needs, or have classes that the model has not."""
    for name, count in model.input_classes.items():
        if isinstance(data, Examples) and name in data.given and (largest := data.largest(name)) >= count:
            column = data.reader.cells[name].column
            raise DataError(
                f"column '{column}' of {data.source.name} has the value {largest}, but the label maps of this "
                f"{model.spec.name} have the classes 0 to {count - 1}; set its number of classes to {largest + 1}, or "
                "give it other maps"
            )
    for name in model.batch_shapes:
        if name == "label" and isinstance(data, Examples) and data.trouble:
            raise DataError(data.trouble)
        if name not in data.given:
            raise DataError(f"{data.source.name} has no {name} column, on which this {model.spec.name} is conditioned")
    if "label" in model.batch_shapes and isinstance(data, Examples) and data.labels is not None:
        known, most = model.label_classes, int(data.labels.max())
        if known is not None and most >= known:
            raise DataError(
                f"{data.source.name} has labels up to {most}, but this {model.spec.name} knows the classes 0 to "
                f"{known - 1}; set its number of classes to {len(data.classes)}"
            )
    if isinstance(data, Examples):
        check_captions(model, data)


def check_captions(model: Model, data: Examples) -> None:
    """Raise DataError for captions that the model can't read."""
    try:
        model.check_captions(data.captions or ())
    except OptionError as error:
        raise DataError(f"a caption of {data.source.name} can't be read: {error}") from None


def name_classes(model: Model, data: Examples) -> None:
    """Give a model of labels the names of the data's classes, where they have any and there are as many."""
    if "label" not in model.batch_shapes:
        return
    if len(data.classes) == model.label_classes and not all(name.isdecimal() for name in data.classes):
        model.class_names = data.classes
