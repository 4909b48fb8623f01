"""A package for a new model: the plugin template of this zoo under another name. Free of torch."""

from __future__ import annotations

import keyword
import re
import tempfile
from fnmatch import fnmatch
from pathlib import Path

from zoo import registry
from zoo.errors import DuplicateModelError, OptionError
from zoo.plugins import checkout

NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
WORDS = re.compile("zoo-nade|nade|NADE")  # distribution, model (and so the module zoo_nade), class


def create(name: str, folder: Path, *, parents: bool = False) -> None:
    """Write the package of a new model, whole or not at all.

    Args:
        name: of the model, with dashes or underscores.
        folder: the package; must be empty if it exists.
        parents: whether the folders above it are made too.

    Raises:
        OptionError: no name for a package, or a folder that is in use or can't be written.
        DuplicateModelError: a model or plugin has that name.
    """
    model = name.replace("-", "_")
    class_name = "".join(part.capitalize() for part in model.split("_"))
    if not NAME.fullmatch(name) or keyword.iskeyword(class_name):
        raise OptionError(f"'{name}' is no name for a package; take lower-case words with dashes, such as my-model")
    for record in registry.plugins().records:
        if model in (record.name, *(spec.name for spec in record.models)):
            raise DuplicateModelError(f"there is a '{model}' already, in {record.origin}; choose another name")
    words = {"zoo-nade": f"zoo-{model.replace('_', '-')}", "nade": model, "NADE": class_name}
    files = {path: source.read_bytes().decode() for path, source in template_files().items()}
    try:
        if parents:
            folder.parent.mkdir(parents=True, exist_ok=True)
        _write({_rename(path, words): _rename(text, words) for path, text in files.items()}, folder)
    except OSError as error:
        raise OptionError(f"can't write '{folder}': {error.strerror or error}") from None


def template_files() -> dict[str, Path]:
    """The files of the template by their path in it, without those that its .gitignore names."""
    root = checkout()
    template = root / "examples" / "zoo-plugin-template" if root else Path(__file__).parent / "_template"
    ignored = (template / ".gitignore").read_text(encoding="utf-8").split()
    files = {path.relative_to(template): path for path in sorted(template.rglob("*")) if path.is_file()}
    return {
        path.as_posix(): source
        for path, source in files.items()
        if not any(fnmatch(part, pattern) for part in path.parts for pattern in ignored)
    }


def _rename(text: str, words: dict[str, str]) -> str:
    return WORDS.sub(lambda found: words[found[0]], text)


def _write(files: dict[str, str], folder: Path) -> None:
    """Beside the folder first, then in its place."""
    place = folder.resolve()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise OptionError(f"'{folder}' exists and is not empty; choose another --out")
    with tempfile.TemporaryDirectory(prefix=".zoo-new-", dir=place.parent) as beside:
        package = Path(beside) / place.name
        for path, text in files.items():
            target = package / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
        if place.exists():
            place.rmdir()
        package.rename(place)
