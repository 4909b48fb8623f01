"""Errors that a user can cause. Each message is one line that says what is wrong and how to mend it.

The command line prints them without a traceback and exits with 2. Everything else is a defect and stays an ordinary
exception.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable


class ZooError(Exception):
    """Base of all errors that a user can cause."""


class UnknownNameError(ZooError):
    """A model, tag, preset, option or data set that nobody registered."""


class OptionError(ZooError):
    """A value of the wrong type, out of range, or of the wrong shape."""


class PluginError(ZooError):
    """A plugin that could not be imported, declares nonsense, or fails in a hook."""


class DuplicateModelError(PluginError):
    """Two plugins declare a model of the same name."""


class DataError(ZooError):
    """Data that is missing, or pictures of the wrong size, mode or range."""


class WeightsError(ZooError):
    """Weights that are missing, damaged, or made for another model."""


class HubError(ZooError):
    """The Hub can't be reached, or refuses."""


class TrainingError(ZooError):
    """A run that can't start, resume or go on."""


def is_shortage(error: BaseException) -> bool:
    """Whether Python or torch ran out of memory; by names and texts, since importing torch takes a second."""
    if isinstance(error, RuntimeError):
        texts = ("can't allocate memory", "not enough memory", "Storage size calculation overflowed")
        return type(error).__name__ == "OutOfMemoryError" or any(text in str(error) for text in texts)
    return isinstance(error, MemoryError)


SHOWN = 10  # names that an error lists


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UnknownNameError:
    """The error for a misspelt name: the nearest known one, or what there is when none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        mend = f"did you mean '{near[0]}'?"
    elif names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        mend = f"there are: {', '.join(names[:SHOWN])}{more}"
    else:
        mend = "there are none"
    return UnknownNameError(f"unknown {kind} '{name}'; {mend}{' ' + hint if hint else ''}")


def one_line(text: object, limit: int = 400) -> str:
    """`text` on one line, without control characters; it may come from a hostile file."""
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= limit else line[: limit - 3] + "..."


def told(value: object) -> str:
    """A value that a caller gave, for an error, in a few words: arrays have texts of many lines."""
    return one_line(repr(value), 100)


def discreet(text: object, limit: int = 1000) -> str:
    """A text on one line, without the names and passwords of addresses."""
    return one_line(without_passwords(str(text)), limit)


def without_passwords(text: str) -> str:
    """A text in which addresses like https://me:secret@host are without names and passwords.

    Of the Hub's own address everything before its last "@" goes, whatever it is, with a scheme or without.
    """
    if user := os.environ.get("HF_ENDPOINT", "").rpartition("@")[0].rpartition("://")[2]:
        text = text.replace(f"{user}@", "")
    return re.sub(r"//[^/\s@]*@", "//", text)
