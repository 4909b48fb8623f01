"""The page as a Hugging Face Space: three files."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from zoo import __version__
from zoo.errors import OptionError
from zoo.files import write_atomically

APP = '''"""The demo page of pixelzoo."""

import os

from zoo_demo.page import launch

launch(host="0.0.0.0", port=int(os.environ.get("PORT", "7860")))
'''


def write(folder: Path) -> None:
    """Write app.py, requirements.txt and README.md; raises OptionError if the folder can't be made or is in use."""
    files = {"app.py": APP, "requirements.txt": f"pixelzoo[demo]=={__version__}\n", "README.md": _readme()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strange = sorted(path.name for path in folder.iterdir() if path.name not in (*files, ".git", ".gitattributes"))
        if strange:
            raise OptionError(f"'{folder}' holds other files ({', '.join(strange[:3])}); give an empty folder")
        for name, text in files.items():
            write_atomically(folder / name, text.encode())
    except OSError as error:
        raise OptionError(f"can't write into '{folder}': {error.strerror or error}") from None


def _readme() -> str:
    try:
        gradio = f"sdk_version: {version('gradio')}\n"
    except PackageNotFoundError:
        gradio = ""
    return f"""---
title: pixelzoo
emoji: 🦓
colorFrom: gray
colorTo: indigo
sdk: gradio
{gradio}app_file: app.py
license: apache-2.0
short_description: Generative image and video models to draw with
---

Every model of pixelzoo with weights, to draw with.
"""
