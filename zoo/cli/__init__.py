"""The command `zoo`. One file a group of verbs; nothing here imports torch before a verb needs it."""

from __future__ import annotations

from zoo.cli.app import main

__all__ = ["main"]
