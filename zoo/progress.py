"""The bar of `model.sample(progress=True)`, in terminals and in notebooks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Report = Callable[[float], None]
FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


@contextmanager
def reporting(progress: Report | bool | None, label: str) -> Iterator[Report | None]:
    """What is to be told the share that is done, from 0 to 1: the caller's own function, a bar for True, or None.

    The bar is drawn on stderr; where that is neither a terminal nor a notebook, nothing is.
    """
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in a notebook without ipywidgets, that the bar will be of text
        from tqdm.auto import tqdm
    disable = False if _in_notebook() else None  # None asks whether stderr is a terminal
    with tqdm(total=1.0, desc=label, bar_format=FORMAT, disable=disable, file=sys.stderr) as bar:
        yield lambda share: _move(bar, share)


def _move(bar: Any, share: float) -> None:
    bar.update(share - bar.n)


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"
