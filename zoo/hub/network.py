"""Whether the Hub can be reached, found out quickly, and what of its address may be shown."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any
from urllib.parse import urlsplit

from zoo.errors import HubError, discreet

PROBE_SECONDS = 3.0


class _Discreet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = discreet(record.getMessage()), ()
        return True


def library() -> Any:
    """`huggingface_hub`. An address that is none would end its import in a ValueError, and its warnings would show
    passwords; raises HubError."""
    address = os.environ.get("HF_ENDPOINT", "")
    try:
        _ = urlsplit(address).port
    except ValueError as error:
        reason = "" if "@" in address else f": {error}"  # which may quote a part of a password
        raise HubError(f"HF_ENDPOINT is no address, '{discreet(address)}'{reason}; correct or unset it") from None
    import huggingface_hub.constants
    import huggingface_hub.errors

    for handler in logging.getLogger("huggingface_hub").handlers:
        if not any(isinstance(known, _Discreet) for known in handler.filters):
            handler.addFilter(_Discreet())
    return huggingface_hub


def endpoint() -> str:
    """The address of the Hub, as it may be shown."""
    return discreet(library().constants.ENDPOINT)


def unreachable() -> str | None:
    """Why nobody answers at the endpoint, or None. The library itself would try for minutes."""
    hub = library()
    found: list[str | None] = [f"no answer within {PROBE_SECONDS:.0f} seconds"]

    def probe() -> None:
        try:
            hub.get_session().head(hub.constants.ENDPOINT, timeout=PROBE_SECONDS)
            found[0] = None
        except Exception as error:  # of the HTTP client, whose name differs between versions
            slow = type(error).__name__ == "ReadTimeout"  # somebody is there
            found[0] = None if slow else discreet(error) or type(error).__name__

    # Looking up a name obeys no time limit, so it happens in a thread that need not come back.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS + 1)
    return found[0]
