"""How the documentation site is built: `sphinx-build -W docs site` with the extra `docs`. It needs no network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

from zoo.version import __version__  # noqa: E402

project = "pixelzoo"
author = "the authors of pixelzoo"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx_design",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "mathml",
    "repository",
    "model_pages",
]
exclude_patterns = ["_ext", "_static", "_build", "**/.ipynb_checkpoints"]
default_role = "code"  # docstrings write `names` as Markdown does

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
# The tour is executed in an empty folder; a bar of text is all right there.
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_execution_timeout = 300

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "exclude-members": "__init__"}
napoleon_use_ivar = True  # "Attributes:" of a dataclass is a list, beside the fields of its signature
napoleon_use_rtype = False

html_theme = "furo"
html_show_copyright = False
html_title = f"pixelzoo {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_theme_options = {"source_repository": "https://github.com/pixelzoo/pixelzoo", "source_directory": "docs/"}
