"""Files: written whole or not at all, and told apart by their sha256. Free of torch."""

from __future__ import annotations

import os
from hashlib import file_digest
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a kill or a full disk at any instant leaves the old one or the new one, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
