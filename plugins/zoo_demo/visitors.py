"""Who draws: what each wants cancelled, and the folders of what each drew last."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import deque
from pathlib import Path

KEPT = 2  # drawings of a visitor whose files stay


class Visitors:
    """Keys are the sessions of Gradio."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._events: dict[str, threading.Event] = {}
        self._places: dict[str, deque[Path]] = {}

    def begin(self, session: str) -> threading.Event:
        """A drawing is asked for; its event says whether it is cancelled."""
        self._events[session] = threading.Event()
        return self._events[session]

    def current(self, session: str) -> threading.Event:
        """That of the last press of Draw, which may have been cancelled while it waited."""
        return self._events.get(session) or self.begin(session)

    def cancel(self, session: str) -> None:
        """Stop what the visitor waits for."""
        if session in self._events:
            self._events[session].set()

    def place(self, session: str) -> Path:
        """A new folder for a drawing; that of the last but one goes."""
        places = self._places.setdefault(session, deque())
        places.append(Path(tempfile.mkdtemp(dir=self.folder)))
        while len(places) > KEPT:
            shutil.rmtree(places.popleft(), ignore_errors=True)
        return places[-1]

    def leave(self, session: str) -> None:
        """Forget a visitor and remove their files."""
        self.cancel(session)
        self._events.pop(session, None)
        for place in self._places.pop(session, ()):
            shutil.rmtree(place, ignore_errors=True)
