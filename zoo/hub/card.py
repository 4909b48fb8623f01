"""The model card: the README.md of a weights folder, with the metadata that the Hub reads."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import one_line, unknown
from zoo.hub.network import library
from zoo.plugins import DISTRIBUTION
from zoo.spec import REPO, ModelSpec

if TYPE_CHECKING:
    from huggingface_hub import RepoCard

PLACE = "OWNER/NAME"  # stands for the repository until the folder is pushed
SOURCE = "pixelzoo/pixelzoo"  # the repository of this source on GitHub
PIPELINES = {
    "image-generation": "unconditional-image-generation",
    "image-translation": "image-to-image",
    "video-translation": "video-to-video",
}
# Those of https://huggingface.co/docs/hub/repositories-licenses that weights commonly have; others become "other".
LICENCES = {
    *("apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "zlib", "unlicense", "wtfpl"),
    *("gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "epl-2.0", "eupl-1.2", "artistic-2.0"),
    *("cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nd-4.0"),
    *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
    *("cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "odc-by", "odbl", "pddl", "cdla-permissive-2.0"),
    *("openrail", "bigscience-openrail-m", "creativeml-openrail-m", "bigcode-openrail-m", "unknown"),
}
LICENCE_ROW = "licence of the weights"  # in the table of the training
ORDER = ["license", "license_name", "license_link", "library_name", "pipeline_tag", "tags", "datasets", "base_model"]
CLASSES_SHOWN = 100
RECEIPT = ("name", "value", "data", "split", "count")
CHOICE = r"(.*)\[(\d+) of \d+, seed (\d+)\]"  # "test[9 of 99, seed 0]"; "test[:9]" is a split, the first 9


def render(
    spec: ModelSpec,
    config: Mapping[str, Any],
    *,
    samples: Sequence[str] = ("samples.png",),
    limitations: str | None = None,
) -> str:
    """The card of one set of weights.

    Args:
        spec: the model.
        config: the content of `config.json`.
        samples: names of the files with samples, and of others that show what the weights do.
        limitations: text of a section of that name, if any.
    """
    data = f" on {config['data']}" if config.get("data") else ""
    sections = [
        f"---\n{_yaml(metadata(spec, config))}\n---",
        f"# {spec.name}{data}",
        f"{spec.summary}.\n\nPaper: {spec.paper}.",
        *(f"![{name.partition('.')[0]}]({name})" for name in samples),
        f"## Use\n\n{_usage(spec, config['plugin']['distribution'], inputs(spec, config))}",
        f"## Training\n\n{_training(config)}",
        f"## Metrics\n\n{_metrics(spec, config.get('metrics', ()))}",
        f"## Limitations\n\n{limitations}" if limitations else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def pictures(text: str) -> list[str]:
    """The files beside the card that it shows."""
    return sorted(set(re.findall(r"!\[[^\]]*\]\((\w[\w.-]*)\)", text)))


def metadata(spec: ModelSpec, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the YAML block of the card holds."""
    dataset, pipeline = _dataset(config.get("data")), _pipeline(spec, config)
    results = [
        _result(pipeline or spec.task, receipt) for receipt in config.get("metrics", ()) if "samples" not in receipt
    ]
    data = library().ModelCardData(
        **_licence(config.get("licence")),
        library_name="pixelzoo",
        pipeline_tag=pipeline,
        tags=["pixelzoo", spec.name, spec.kind, spec.task],
        datasets=[dataset] if dataset else None,
        base_model=config.get("base_model"),
        model_name=spec.name if results else None,
        eval_results=results or None,
    )
    return dict(data.to_dict())


def _yaml(found: Mapping[str, Any]) -> str:
    return str(library().CardData(**found).to_yaml(original_order=ORDER))


def _licence(licence: str | None) -> dict[str, str]:
    """What the metadata says of it."""
    if not licence:
        return {}
    if licence.lower() in LICENCES:
        return {"license": licence.lower()}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")}


def _dataset(data: str | None) -> str | None:
    """The data set on the Hub that a `--data` argument stands for, if any."""
    if data is None:
        return None
    named = registry.data_spec(data)
    if named is not None:
        return named.repo
    return data if REPO.fullmatch(data) else None


def _pipeline(spec: ModelSpec, config: Mapping[str, Any]) -> str | None:
    """The Hub's name of the task; weights that were measured on captions draw pictures from texts."""
    if spec.task == "image-generation" and any("caption" in r.get("given", "") for r in config.get("metrics", ())):
        return "text-to-image"
    return PIPELINES.get(spec.task)


def _result(task: str, receipt: Mapping[str, Any]) -> Any:
    """One entry of the Hub's model index."""
    return library().EvalResult(
        task_type=task,
        dataset_type=_dataset(receipt["data"]) or receipt["data"],
        dataset_name=receipt["data"],
        dataset_split=receipt["split"],
        dataset_revision=str(receipt["revision"]) if receipt.get("revision") else None,
        metric_type=receipt["name"],
        metric_name=receipt["name"].replace("_", " "),
        metric_value=receipt["value"],
    )


def inputs(spec: ModelSpec, config: Mapping[str, Any]) -> list[str]:
    """The options that the weights are shown with, and draw nothing without: those of the model's examples."""
    from zoo import building
    from zoo.hub.read import usual_defaults
    from zoo.meta import on_meta

    with usual_defaults("cpu"):
        with on_meta():
            model = building.build_from_config(spec, building.without_recipe(spec, config["config"]))
        try:
            return list(model.examples(1))
        except Exception:  # of a plugin whose examples look at weights, which are not there
            return [option.name for option in spec.sample_options if option.name == "condition"]


def _usage(spec: ModelSpec, package: str, inputs: Sequence[str]) -> str:
    files = [o.name for o in spec.sample_options if o.name in inputs and o.type in ("image", "video")]
    name, count = ("clips", 4) if spec.is_video else ("images", 16)
    given = f", **model.examples({count})" if inputs else ""
    call = f"{name} = model.sample({count}, seed=0{given})"
    axes = ", ".join(("N", *spec.data_shape))
    source = f"[pixelzoo](https://github.com/{SOURCE})"
    ours = package == DISTRIBUTION
    bare = f"""
Without installing anything but its dependencies:

```python
import torch

model = torch.hub.load("{SOURCE}", "{spec.name}", weights="{PLACE}")
```
"""
    return f"""With {source}{"" if ours else f" and the package of the model, `pip install {package}`"}:

```python
import zoo

model = zoo.load("{spec.name}", weights="{PLACE}")
{call}  # uint8, ({axes})
```
{bare if ours else ""}
On the command line:

```
zoo sample {spec.name} --weights {PLACE}{"".join(f" --option {file}=FILE" for file in files)}
```"""


def _training(config: Mapping[str, Any]) -> str:
    facts = {"data": config.get("data"), LICENCE_ROW: config.get("licence")}
    facts |= {key.replace("_", " "): value for key, value in config.get("training", {}).items()}
    facts["made with"] = f"pixelzoo {config['zoo_version']}, plugin {' '.join(config['plugin'].values())}"
    if names := config.get("classes"):
        facts["classes"] = ", ".join([*names[:CLASSES_SHOWN], *(["..."] if len(names) > CLASSES_SHOWN else [])])
    facts["constructor"] = config["config"]
    shown = {key: _arguments(value) if isinstance(value, dict) else value for key, value in facts.items()}
    return _table(("what", "value"), [(key, value) for key, value in shown.items() if value not in (None, "")])


def _arguments(values: Mapping[str, Any]) -> str:
    return f"`{', '.join(f'{name}={value!r}' for name, value in values.items())}`" if values else ""


def _metrics(spec: ModelSpec, receipts: Sequence[Mapping[str, Any]]) -> str:
    if not receipts:
        return "None were measured."
    rows = []
    for receipt in receipts:
        rest = ", ".join(f"{k} {v}" for k, v in receipt.items() if k not in RECEIPT and v not in (None, ""))
        rows.append((*(receipt[key] for key in RECEIPT), rest))
    commands: dict[str, list[str]] = {}
    for receipt in receipts:
        commands.setdefault(_command(spec, receipt), []).append(receipt["name"])
    lines = [f"{command}{','.join(names) if command.endswith(' ') else ''}" for command, names in commands.items()]
    return f"{_table((*RECEIPT, 'how'), rows)}\n\nMeasured from these files by\n\n```\n{chr(10).join(lines)}\n```"


def _pairs(text: str) -> list[str]:
    """The parts NAME=VALUE of a receipt's "NAME=VALUE, NAME=VALUE"; a value may have commas."""
    return re.split(r", (?=\w+=)", text) if text else []


def _command(spec: ModelSpec, receipt: Mapping[str, Any]) -> str:
    """The command that measures a receipt's figure again; of a metric of samples it ends before the metric's name."""
    found = re.fullmatch(CHOICE, str(receipt["split"]))
    split, limit, seed = found.groups() if found else (receipt["split"], None, None)
    split, few = shlex.quote(split), f" --limit {limit}" if limit else ""
    columns = "".join(f" --column {shlex.quote(column)}" for column in _pairs(receipt.get("columns", "")))
    resize = " --resize" if "antialiased" in receipt.get("resizer", "") else ""  # boxes are for sets that say so
    measured = f"zoo eval {spec.name} --weights {PLACE} --data {shlex.quote(receipt['data'])}{resize}"
    if "features" not in receipt:
        return f"{measured} --split {split}{few}{f' --seed {seed}' if int(seed or 0) else ''}{columns}"
    columns += f" --pairs {receipt['pairs']}" if receipt.get("pairs") else ""
    options = "".join(f" --option {shlex.quote(option)}" for option in _pairs(receipt.get("options", "")))
    options += f" --precision {receipt['precision']}" if receipt.get("precision") else ""
    stride = f" --frame-stride {receipt['stride']}" if receipt.get("stride", 1) != 1 else ""
    control = f" --control {receipt['samples'].split()[-1]}" if receipt.get("samples") else ""
    drawn = f"--count {receipt['count']} --seed {receipt['seed']}{options}{columns}{stride}{control}"
    drawn += "" if receipt["features"] == "mean colour" else f" --features {shlex.quote(receipt['features'])}"
    return f"{measured}{f' --split {split}{few}' if receipt.get('real') else ''} {drawn} --metric "


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def licence_id(text: str) -> str:
    """The Hub's name of a licence, in lower case; raises UnknownNameError if it has none."""
    if text.lower() not in LICENCES | {"other"}:
        raise unknown("licence", text, LICENCES, "(or 'other')")
    return text.lower()


def with_licence(text: str, licence: str) -> str:
    """A card with another licence in its metadata and in its table of the training; the rest as it was."""
    try:
        card = _parse(text)
    except ValueError:
        return text  # `validate` says what is wrong with it
    data: Any = card.data
    row = f"| {LICENCE_ROW} | {licence} |"
    if data.get("license") != licence:  # the name and the link are of another
        for name in ("license", "license_name", "license_link"):
            data.pop(name)
    for name, value in _licence(licence).items():
        data[name] = data.get(name, value)
    body, replaced = re.subn(rf"(?m)^\| {LICENCE_ROW} \|.*$", row, card.text)
    if not replaced:
        first = r"(?m)^\| what \| value \|\n\| --- \| --- \|\n(\| data \|.*\n)?"
        body = re.sub(first, rf"\g<0>{row}\n", body, count=1)
    return f"---\n{_yaml(data.to_dict())}\n---\n{body}"


def limitations(text: str) -> str | None:
    """The section of limitations of a card, with which it ends; None without one."""
    _, heading, section = text.partition("\n## Limitations\n")
    return section.strip() if heading else None


def _parse(text: str) -> RepoCard:
    """A card; ValueError if it has no proper metadata."""
    if not re.match(r"\s*---\r?\n", text):
        raise ValueError("the card has no metadata (a YAML block between '---' lines at its top)")
    hub = library()
    try:
        card: RepoCard = hub.RepoCard(text)
    except Exception as error:  # of the YAML parser, or of what is no mapping
        raise ValueError(f"the card's metadata is no proper YAML: {one_line(error)}") from None
    return card


def validate(text: str) -> list[str]:
    """What keeps a card from being published; empty if nothing does."""
    try:
        card = _parse(text)
    except ValueError as error:
        return [str(error)]
    found = card.data
    problems = []
    if not found.get("license"):
        mend = "state one with --licence ID, or licence=ID in Python (apache-2.0, mit, cc-by-4.0, ...)"
        problems.append(f"the card has no 'license': {mend}")
    elif found.get("license") == "other" and not found.get("license_name"):
        problems.append("the card's license is 'other', so it needs a 'license_name'")
    if found.get("library_name") != "pixelzoo":
        problems.append("the card's 'library_name' must be pixelzoo")
    tags = found.get("tags")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        problems.append("the card's 'tags' must be a list of texts")
    if not card.text.strip():
        problems.append("the card has no text below its metadata")
    return problems
