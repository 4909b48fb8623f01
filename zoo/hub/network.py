"""Whether the Hub can be reached, found out quickly; and how long to wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from zoo.errors import HubError

PROBE_SECONDS = 3.0
PATIENCE_SECONDS = 20.0


def unreachable() -> str | None:
    """Why nobody answers at the endpoint, or None. The library itself would try for about 20 seconds."""
    from huggingface_hub import constants, get_session

    found: list[str | None] = [f"no answer within {PROBE_SECONDS:.0f} seconds"]

    def probe() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
            found[0] = None
        except Exception as error:  # of the HTTP client, whose name differs between versions
            slow = type(error).__name__ == "ReadTimeout"  # somebody is there
            found[0] = None if slow else " ".join(str(error).split()) or type(error).__name__

    # Looking up a name obeys no time limit, so it happens in a thread that need not come back.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS + 1)
    return found[0]


@contextmanager
def patience() -> Iterator[None]:
    """While the block runs, this thread's requests to the Hub end in a HubError after 20 seconds without a good answer,
    or at once if it asks to wait longer than that. The library itself would wait for minutes, or as long as it is told.
    """
    from huggingface_hub import constants, get_session

    begun, answered, trouble = time.monotonic(), False, "does not answer"
    owner = threading.get_ident()
    longest = max(constants.HF_HUB_ETAG_TIMEOUT, constants.HF_HUB_DOWNLOAD_TIMEOUT)

    def before(request: Any) -> None:
        nonlocal begun, answered
        if threading.get_ident() != owner:
            return
        if answered:  # a transfer may take any time
            begun, answered = time.monotonic(), False
        elif time.monotonic() - begun > PATIENCE_SECONDS:
            raise HubError(f"{constants.ENDPOINT} {trouble}, tried for {PATIENCE_SECONDS:.0f} seconds; try again later")
        limits = request.extensions.get("timeout", {})
        limits.update({kind: min(seconds or longest, longest) for kind, seconds in limits.items()})

    def after(response: Any) -> None:
        nonlocal answered, trouble
        if threading.get_ident() != owner:
            return
        answered, trouble = response.status_code < 400, f"answers {response.status_code}"
        wait = response.headers.get("retry-after", "")
        if not answered and wait.isdigit() and int(wait) > PATIENCE_SECONDS:
            raise HubError(f"{constants.ENDPOINT} {trouble} and asks to wait {int(wait)} seconds; try again then")

    hooks = get_session().event_hooks
    hooks["request"].append(before)
    hooks["response"].append(after)
    try:
        yield
    finally:
        with suppress(ValueError):
            hooks["request"].remove(before)
            hooks["response"].remove(after)
