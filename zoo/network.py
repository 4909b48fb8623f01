"""Whether the Hub can be reached, found out quickly."""

from __future__ import annotations

import threading

PROBE_SECONDS = 3.0


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
