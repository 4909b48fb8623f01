"""The command `zoo`. One file a group of verbs; nothing here imports torch before a verb needs it.

Verbs of plugins take what verbs share from `zoo.cli.console`.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `zoo`; the exit code."""
    from zoo.cli import app

    return app.main(arguments)
