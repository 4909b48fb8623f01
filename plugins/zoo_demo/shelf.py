"""The models that were used last, loaded once, and the thread that draws with them."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

import zoo
from zoo.errors import ZooError
from zoo_demo.catalogue import Entry

KEPT = 4

T = TypeVar("T")
Work = tuple[Future[Any], Context, Callable[[], Any]]


class Shelf:
    """The models that were used last, loaded once each, and the one thread that computes with them.

    Threads of visitors would do it in turns as well, but each keeps its team of OpenMP threads afterwards, beside which
    those of the next are slow, as `zoo.data.threads` tells.
    """

    def __init__(self, device: str = "auto") -> None:
        self.device = device
        self._models: OrderedDict[str, zoo.Model] = OrderedDict()
        self._own: dict[str, zoo.Model] = {}
        self._waiting: SimpleQueue[Work | None] = SimpleQueue()
        threading.Thread(target=_work, args=(self._waiting,), daemon=True, name="zoo-demo").start()
        weakref.finalize(self, self._waiting.put, None)

    def begin(self, do: Callable[[], T]) -> Future[T]:
        """Have the thread do something after all that it was given before."""
        future: Future[T] = Future()
        self._waiting.put((future, copy_context(), do))
        return future

    def run(self, do: Callable[[], T]) -> T:
        """The result of `begin`, or what it raised."""
        return self.begin(do).result()

    def use(self, entry: Entry, do: Callable[[zoo.Model], T]) -> T:
        """Have the thread do something with a model."""
        return self.run(lambda: do(self.get(entry)))

    def warm(self, entry: Entry | None = None) -> Future[None]:
        """Load in the background what the next drawing needs: a model, or what all models need."""
        return self.begin(lambda: self._warm(entry))

    def _warm(self, entry: Entry | None) -> None:
        import torch  # noqa: F401

        if entry is not None:
            with contextlib.suppress(ZooError):  # the drawing itself says what is wrong
                self.get(entry)

    def put(self, entry: Entry, model: zoo.Model) -> None:
        """Draw with a model that is here already, in place of weights; it stays."""
        self._own[entry.name] = model

    def get(self, entry: Entry) -> zoo.Model:
        """A loaded model; for what runs in the thread."""
        if entry.name in self._own:
            return self._own[entry.name]
        model = self._models.pop(entry.name, None)
        model = model or zoo.load(entry.spec.name, weights=entry.tag, device=self.device)
        self._models[entry.name] = model
        while len(self._models) > KEPT:
            self._models.popitem(last=False)
        return model


def _work(waiting: SimpleQueue[Work | None]) -> None:
    while (work := waiting.get()) is not None:
        future, context, do = work
        try:
            future.set_result(context.run(do))
        except BaseException as error:
            future.set_exception(error)
