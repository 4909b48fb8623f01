"""The models that were used last, loaded once."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict

import zoo
from zoo.errors import ZooError
from zoo_demo.catalogue import Entry

KEPT = 4


class Shelf:
    """The models that were used last, loaded once each; one thread at a time draws with them."""

    def __init__(self, device: str = "auto") -> None:
        self.device = device
        self.lock = threading.Lock()
        self._models: OrderedDict[str, zoo.Model] = OrderedDict()
        self._own: dict[str, zoo.Model] = {}

    def warm(self, entry: Entry | None = None) -> threading.Thread:
        """Load in the background what the next drawing needs: a model, or what all models need."""
        thread = threading.Thread(target=self._warm, args=(entry,), daemon=True, name="zoo-demo-warm")
        thread.start()
        return thread

    def _warm(self, entry: Entry | None) -> None:
        import torch  # noqa: F401

        if entry is not None:
            with self.lock, contextlib.suppress(ZooError):  # the drawing itself says what is wrong
                self.get(entry)

    def put(self, entry: Entry, model: zoo.Model) -> None:
        """Draw with a model that is here already, in place of weights; it stays."""
        self._own[entry.name] = model

    def get(self, entry: Entry) -> zoo.Model:
        """A loaded model; the caller holds the lock."""
        if entry.name in self._own:
            return self._own[entry.name]
        model = self._models.pop(entry.name, None)
        model = model or zoo.load(entry.spec.name, weights=entry.tag, device=self.device)
        self._models[entry.name] = model
        while len(self._models) > KEPT:
            self._models.popitem(last=False)
        return model
