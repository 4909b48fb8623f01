"""What was drawn, in words, in Python and for the shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.cli.sample import Plan
from zoo_demo.catalogue import Entry


def text(value: Any) -> str:
    """A value as `--option` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def about(entry: Entry, plan: Plan, files: Mapping[str, Path]) -> str:
    """What was drawn, in a line."""
    what = "walk" if plan.length else "clip" if entry.spec.is_video else "sample"
    said = [f"{name}={text(value)}" for name, value in plan.options.items()] + [f"{name}=…" for name in files]
    return ", ".join([f"{plan.n} {what}{'s' * (plan.n != 1)} of {entry.name}, seed {plan.seed}", *said])


def lines(entry: Entry, plan: Plan, files: Mapping[str, Path], out: str) -> tuple[str, str]:
    """Python and shell that give exactly a drawing; pictures are expected beside, under the names of `files`."""
    spec, length = entry.spec, plan.length or 1
    arguments = [str(plan.n * length), f"seed={plan.seed}"]
    arguments += [f"frames={plan.frames}"] if plan.frames else []
    arguments += [f"{name}={value!r}" for name, value in plan.options.items()]
    arguments += [f"{name}={name}" for name in files]
    python = ["import zoo"]
    if files:
        python += ["from pathlib import Path", "from zoo.cli.options import read_pictures"]
    python += ["", f'model = zoo.load("{spec.name}", weights="{entry.tag}")']
    python += [f'{name} = read_pictures(model, "{name}", [Path("{file.name}")])' for name, file in files.items()]
    python.append(f"samples = model.sample({', '.join(arguments)})")
    shell = ["zoo", "sample", entry.name, "-n", str(plan.n), "--seed", str(plan.seed)]
    shell += ["--frames", str(plan.frames)] if plan.frames else []
    typed = {**{name: text(value) for name, value in plan.options.items()}, **{n: f.name for n, f in files.items()}}
    for name, value in typed.items():
        shell += ["--option", f"{name}={value}"]
    return "\n".join(python), shlex.join([*shell, "-o", out])
