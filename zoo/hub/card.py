"""The model card: the README.md of a weights folder, with the metadata that the Hub reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from zoo import registry
from zoo.errors import unknown
from zoo.spec import ModelSpec

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
RECEIPT = ("name", "value", "data", "split", "count")
CHOICE = r"(.*)\[:?(\d+)(?: of \d+, seed (\d+))?\]"  # "test[9 of 99, seed 0]"; "test[:9]" was the first 9


def render(
    spec: ModelSpec, config: Mapping[str, Any], *, samples: str | None = "samples.png", limitations: str | None = None
) -> str:
    """The card of one set of weights.

    Args:
        spec: the model.
        config: the content of `config.json`.
        samples: name of the file with samples, or None.
        limitations: text of a section of that name, if any.
    """
    data = f" on {config['data']}" if config.get("data") else ""
    sections = [
        f"---\n{_yaml(metadata(spec, config))}---",
        f"# {spec.name}{data}",
        f"{spec.summary}.\n\nPaper: {spec.paper}.",
        f"![samples]({samples})" if samples else "",
        f"## Use\n\n{_usage(spec)}",
        f"## Training\n\n{_training(config)}",
        f"## Metrics\n\n{_metrics(spec, config.get('metrics', ()))}",
        f"## Limitations\n\n{limitations}" if limitations else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def pictures(text: str) -> list[str]:
    """The files beside the card that it shows."""
    return sorted(set(re.findall(r"!\[[^\]]*\]\((\w[\w.-]*)\)", text)))


def metadata(spec: ModelSpec, config: Mapping[str, Any]) -> dict[str, Any]:
    """The YAML block of the card."""
    found: dict[str, Any] = {}
    if licence := config.get("licence"):
        found |= _licence(licence)
    found["library_name"] = "pixelzoo"
    if pipeline := _pipeline(spec, config):
        found["pipeline_tag"] = pipeline
    found["tags"] = list(dict.fromkeys(["pixelzoo", spec.name, spec.kind, spec.task]))
    if dataset := _dataset(config.get("data")):
        found["datasets"] = [dataset]
    if base := config.get("base_model"):
        found["base_model"] = base
    if metrics := config.get("metrics"):
        results = [_result(pipeline or spec.task, receipt) for receipt in metrics]
        found["model-index"] = [{"name": spec.name, "results": results}]
    return found


def _yaml(found: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(found), sort_keys=False, allow_unicode=True, width=1000)


def _licence(licence: str) -> dict[str, str]:
    """What the metadata says of it."""
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
    return data if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", data) else None


def _pipeline(spec: ModelSpec, config: Mapping[str, Any]) -> str | None:
    """The Hub's name of the task; weights that were measured on captions draw pictures from texts."""
    if spec.task == "image-generation" and any("caption" in r.get("given", "") for r in config.get("metrics", ())):
        return "text-to-image"
    return PIPELINES.get(spec.task)


def _result(task: str, receipt: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of the Hub's model index."""
    dataset = {"type": _dataset(receipt["data"]) or receipt["data"], "name": receipt["data"], "split": receipt["split"]}
    if receipt.get("revision"):
        dataset["revision"] = str(receipt["revision"])
    return {
        "task": {"type": task},
        "dataset": dataset,
        "metrics": [{"type": receipt["name"], "name": receipt["name"].replace("_", " "), "value": receipt["value"]}],
    }


def _usage(spec: ModelSpec) -> str:
    call = "clips = model.sample(4, seed=0)   " if spec.is_video else "images = model.sample(16, seed=0)  "
    axes = ", ".join(("N", *spec.data_shape))
    return f"""With [pixelzoo](https://github.com/{SOURCE}):

```python
import zoo

model = zoo.load("{spec.name}", weights="{PLACE}")
{call}# uint8, ({axes})
```

Without installing anything but its dependencies:

```python
import torch

model = torch.hub.load("{SOURCE}", "{spec.name}", weights="{PLACE}")
```

On the command line:

```
zoo sample {spec.name} --weights {PLACE}
```"""


def _training(config: Mapping[str, Any]) -> str:
    facts = {"data": config.get("data"), LICENCE_ROW: config.get("licence")}
    facts |= {key.replace("_", " "): value for key, value in config.get("training", {}).items()}
    facts["made with"] = f"pixelzoo {config['zoo_version']}, plugin {' '.join(config['plugin'].values())}"
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


def _command(spec: ModelSpec, receipt: Mapping[str, Any]) -> str:
    """The command that measures a receipt's figure again; of a metric of samples it ends before the metric's name."""
    found = re.fullmatch(CHOICE, str(receipt["split"]))
    split, limit, seed = found.groups() if found else (receipt["split"], None, None)
    few = f" --limit {limit}" if limit else ""
    measured = f"zoo eval {spec.name} --weights {PLACE} --data {receipt['data']}"
    if "features" not in receipt:
        return f"{measured} --split {split}{few}{f' --seed {seed}' if int(seed or 0) else ''}"
    options = "".join(f" --option {option}" for option in receipt.get("options", "").split(", ") if option)
    drawn = f"--count {receipt['count']} --seed {receipt['seed']}{options} --features {receipt['features']}"
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
        found, body = _parse(text)
    except ValueError:
        return text  # `validate` says what is wrong with it
    old: dict[str, Any] = {key: found.pop(key) for key in ("license", "license_name", "license_link") if key in found}
    kept: dict[str, Any] = old if old.get("license") == licence else {}  # the name and link of another licence
    row = f"| {LICENCE_ROW} | {licence} |"
    body, replaced = re.subn(rf"(?m)^\| {LICENCE_ROW} \|.*$", row, body)
    if not replaced:
        first = r"(?m)^\| what \| value \|\n\| --- \| --- \|\n(\| data \|.*\n)?"
        body = re.sub(first, rf"\g<0>{row}\n", body, count=1)
    return f"---\n{_yaml({**_licence(licence), **kept, **found})}---\n{body}"


def limitations(text: str) -> str | None:
    """The section of limitations of a card, with which it ends; None without one."""
    _, heading, section = text.partition("\n## Limitations\n")
    return section.strip() if heading else None


def _parse(text: str) -> tuple[dict[str, Any], str]:
    """Metadata and text of a card; ValueError if it has no proper metadata."""
    match = re.match(r"---\r?\n(.*?)\r?\n---[ \t]*\r?(?:\n|$)", text, re.DOTALL)
    if not match:
        raise ValueError("the card has no metadata (a YAML block between '---' lines at its top)")
    try:
        found = yaml.safe_load(match[1])
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"the card's metadata is no proper YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise ValueError("the card's metadata is no YAML mapping")
    return found, text[match.end() :]


def validate(text: str) -> list[str]:
    """What keeps a card from being published; empty if nothing does."""
    try:
        found, body = _parse(text)
    except ValueError as error:
        return [str(error)]
    problems = []
    if not found.get("license"):
        mend = "state one with --licence ID, or licence=ID in Python (apache-2.0, mit, cc-by-4.0, ...)"
        problems.append(f"the card has no 'license': {mend}")
    elif found["license"] == "other" and not found.get("license_name"):
        problems.append("the card's license is 'other', so it needs a 'license_name'")
    if found.get("library_name") != "pixelzoo":
        problems.append("the card's 'library_name' must be pixelzoo")
    tags = found.get("tags")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        problems.append("the card's 'tags' must be a list of texts")
    if not body.strip():
        problems.append("the card has no text below its metadata")
    return problems
