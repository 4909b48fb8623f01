"""A run that has no weights yet: what its newest checkpoint draws. It may be training still, or have been killed."""

from __future__ import annotations

from pathlib import Path

from zoo.device import pick_device
from zoo.errors import TrainingError, WeightsError
from zoo.model import Model
from zoo.settings import Settings
from zoo.train.checkpoints import Checkpoints
from zoo.train.planning import rebuild


def load_newest(folder: Path, expect: str, device: str = "auto") -> tuple[Model, int]:
    """The moving average of a run's newest checkpoint, in evaluation mode, and how many examples it has seen.

    Args:
        folder: of the run.
        expect: the model that it should be of.
        device: as of `zoo.load`.

    Raises:
        WeightsError: the run has no checkpoint, or trains another model.
        TrainingError: its checkpoint can't be read, or is of other settings.
    """
    settings = Settings.read(folder)
    if settings.model != expect:
        raise WeightsError(f"the run in '{folder}' trains {settings.model}, not {expect}")
    state = Checkpoints(folder / "checkpoints").newest()
    if state is None:
        raise WeightsError(f"the run in '{folder}' has no checkpoint yet; --checkpoint-every says how often one comes")
    model = rebuild(settings)[1].released()
    try:
        model.load_state_dict(state["average"])
    except (KeyError, RuntimeError) as error:
        raise TrainingError(f"the checkpoint in '{folder}' is of another model: {error}"[:300]) from None
    return model.eval().to(pick_device(device)), int(state["seen"])
