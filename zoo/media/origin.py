"""Where a picture comes from: which weights, seed, sample and options drew it, kept in the picture itself.

A PNG holds it as a text chunk named "pixelzoo" (JSON, UTF-8); beside any other file it may lie as `FILE.json`. A folder
of samples has a line for each file in `manifest.jsonl`. What a picture says is checked as a stranger's text; nothing in
it is a path. Free of torch.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from zoo.errors import DataError, one_line
from zoo.files import write_atomically
from zoo.spec import NAME, SHA256
from zoo.version import __version__

KEY = "pixelzoo"
MANIFEST = "manifest.jsonl"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_END = len(SIGNATURE) + 25  # of the chunk IHDR, always the first
TEXT_LIMIT = 10_000_000  # bytes: the digests of a clip of over 100,000 frames
SCALAR = (str, int, float, bool)
VERSION = re.compile(r"\d+\.\d+[\w.+-]*")


@dataclass(frozen=True)
class Origin:
    """What drew a file of samples.

    Attributes:
        model: its name.
        weights: tag, or owner/repo@revision; None for a folder, whose path is nobody's business.
        sha256: of `model.safetensors`; None for the checkpoint of a run.
        seed: of all samples.
        index: of the first sample in the file.
        n: how many samples the file holds.
        options: of sampling; a list has a value for each of equally many samples in succession.
        inputs: name of an option that takes files -> sha256 of each file; of a clip that is a folder, a list of those
            of its frames.
        flags: other flags of `zoo sample` that decide what the file shows; "alone" of one sample without a border.
        version: of pixelzoo.
    """

    model: str
    weights: str | None
    sha256: str | None
    seed: int
    index: int
    n: int
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, list[str | list[str]]] = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)
    version: str = __version__

    def of(self, i: int) -> Origin:
        """The origin of sample i alone, counted from this one's first, in a file of its own."""

        def own(values: Any) -> Any:
            many = isinstance(values, list) and len(values) > 1
            return values[i * len(values) // self.n] if many else values

        inputs = {name: [own(digests)] if len(digests) > 1 else digests for name, digests in self.inputs.items()}
        options = {name: own(values) for name, values in self.options.items()}
        flags = {name: value for name, value in self.flags.items() if name != "columns"}
        return replace(self, index=self.index + i, n=1, options=options, inputs=inputs, flags={**flags, "alone": True})

    def text(self, **more: Any) -> str:
        return json.dumps({**more, **asdict(self)}, ensure_ascii=False)

    def assignments(self) -> list[str]:
        """The options as `zoo sample --option` takes them."""
        pairs = ((name, item) for name, value in self.options.items() for item in _listed(value))
        return [f"{name}={str(item).lower() if isinstance(item, bool) else item}" for name, item in pairs]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# Writing


def attach(origin: Origin, path: Path, *, sidecar: bool = False) -> None:
    """Put the origin into a PNG (.png or .apng), whose pixels stay as they are; with `sidecar` also into FILE.json."""
    if path.suffix.lower() in (".png", ".apng"):
        content = path.read_bytes()
        if content.startswith(SIGNATURE):
            chunks = _text_chunk(KEY, origin.text()) + _text_chunk("Software", f"pixelzoo {origin.version}")
            write_atomically(path, content[:HEADER_END] + chunks + content[HEADER_END:])
    if sidecar:
        write_atomically(beside(path), f"{origin.text(file=path.name)}\n".encode())


def beside(path: Path) -> Path:
    """Where the sidecar of a file lies."""
    return path.with_name(f"{path.name}.json")


def _text_chunk(key: str, text: str) -> bytes:
    """An uncompressed iTXt chunk, PNG specification 11.3.3.4."""
    body = b"iTXt" + key.encode("latin-1") + b"\0\0\0\0\0" + text.encode()
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def write_manifest(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Add lines to the manifest of a folder; a line about the same file is replaced."""
    path, new = folder / MANIFEST, {row["file"]: json.dumps(row, ensure_ascii=False) for row in rows}
    old: dict[str, str] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                old[json.loads(line)["file"]] = line
            except (ValueError, KeyError, TypeError):
                continue
    lines = {**old, **new}
    write_atomically(path, "".join(f"{lines[name]}\n" for name in sorted(lines)).encode())


# Reading


def read(path: Path) -> Origin:
    """The origin of a picture, from itself, from FILE.json beside it, or of such a file itself.

    Raises:
        DataError: no such file, nothing about an origin in it, or nonsense.
    """
    if not path.is_file():
        raise DataError(f"there is no file '{path}'")
    text = None
    if path.suffix.lower() == ".json":
        text = _short_text(path)
    elif path.suffix.lower() in (".png", ".apng"):
        text = _inside(path)
    if text is None and beside(path).is_file():
        text = _short_text(beside(path))
    if text is None:
        raise DataError(
            f"'{path}' does not say where it comes from; .png files of 'zoo sample' do, others with --sidecar"
        )
    return _parse(text, str(path))


def _short_text(path: Path) -> str:
    if path.stat().st_size > TEXT_LIMIT:
        raise DataError(f"'{path}' is too large to be the origin of a picture")
    return path.read_text(encoding="utf-8", errors="replace")


def _inside(path: Path) -> str | None:
    from PIL import Image

    from zoo.media.images import readable

    with readable(f"'{path}'"), Image.open(path) as picture:
        text = picture.info.get(KEY)
    return str(text) if text is not None and len(text) <= TEXT_LIMIT else None


def _parse(text: str, where: str) -> Origin:
    try:
        raw = json.loads(text)
        raw.pop("file", None)
        origin = Origin(**raw)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"what '{where}' says of its origin is not understood: {one_line(error, 100)}") from None
    if problem := _problem(origin):
        raise DataError(f"what '{where}' says of its origin makes no sense: {problem}")
    return origin


def _problem(origin: Any) -> str | None:
    """What is wrong with an origin that was read, whose values may be of any type."""

    def plain(values: Any) -> bool:
        return isinstance(values, dict) and all(
            NAME.fullmatch(name) and all(isinstance(item, SCALAR) for item in _listed(value))
            for name, value in values.items()
        )

    numbers = (origin.seed, origin.index, origin.n)
    if not isinstance(origin.model, str) or not NAME.fullmatch(origin.model):
        return "model"
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers):
        return "seed, index or n"
    if not (origin.weights is None or isinstance(origin.weights, str)):
        return "weights"
    if origin.sha256 is not None and not (isinstance(origin.sha256, str) and SHA256.fullmatch(origin.sha256)):
        return "sha256"
    if not (isinstance(origin.version, str) and VERSION.fullmatch(origin.version)):
        return "version"
    inputs = origin.inputs
    if isinstance(inputs, dict):  # without the lists in lists
        inputs = {name: [part for item in _listed(value) for part in _listed(item)] for name, value in inputs.items()}
    if not (plain(origin.options) and plain(inputs) and plain(origin.flags)):
        return "options, inputs or flags"
    return None
