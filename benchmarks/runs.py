"""Trainings that benchmarks compare: each is whole before it is measured, and was planned as it is asked for now."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import TrainingError
from zoo.settings import Settings
from zoo.train import loop


def check(settings: Settings) -> bool:
    """Whether a run has begun in the folder of `settings`; SystemExit if it was begun with others."""
    if not (Path(settings.out) / "run.json").is_file():
        return False
    try:
        settings.check_folder(resume=True)
    except TrainingError as error:
        raise SystemExit(str(error)) from error
    planned = Settings.read(settings.out).schedule
    if planned != settings.examples:  # its learning rates have fallen, and its networks have grown, by then
        raise SystemExit(
            f"{settings.out} was planned for {planned} examples, not {settings.examples}; take another --out"
        )
    return True


def train(settings: Settings) -> None:
    """Begin the run of `settings`, or go on with it, to its end; SystemExit if it was stopped before."""
    if loop.train(settings, resume=check(settings))["reason"] != "finished":
        raise SystemExit(f"{settings.out} was stopped; the same command goes on with it")
