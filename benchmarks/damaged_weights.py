"""Damaged weights folders: how many load, how many end in anything but one clear line, how much memory they take.

    python benchmarks/damaged_weights.py                 # 1,000 folders, and 100 through a Hub of its own
    python benchmarks/damaged_weights.py --seed 7 --count 5000

Each case damages an honest folder in one random way. "Sealed" damage is that of somebody who means it: the size and
sha256 in the config are those of the damaged file. The peak of memory is that of the process (Linux alone).
"""

from __future__ import annotations

import argparse
import collections
import copy
import functools
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent / "tests"
CONFIG, TENSORS = "config.json", "model.safetensors"


class Case:
    """One copy of the honest folder, to be damaged."""

    def __init__(self, honest: dict[str, bytes], rng: random.Random) -> None:
        self.rng = rng
        self.config: Any = json.loads(honest[CONFIG])
        self.tensors = honest[TENSORS]
        self.text: bytes | None = None  # of the config, if it is no JSON of `config`
        self.link: str | None = None

    def split(self) -> tuple[dict[str, Any], bytes]:
        """The header of the tensors, and their data."""
        size = int.from_bytes(self.tensors[:8], "little")
        return json.loads(self.tensors[8 : 8 + size]), self.tensors[8 + size :]

    def join(self, header: dict[str, Any] | bytes, data: bytes) -> None:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self.tensors = len(text).to_bytes(8, "little") + text + data

    def seal(self) -> None:
        self.config["weights"] = {"sha256": hashlib.sha256(self.tensors).hexdigest(), "size": len(self.tensors)}

    def files(self) -> dict[str, bytes]:
        return {CONFIG: self.text or json.dumps(self.config).encode(), TENSORS: self.tensors}

    def write(self, folder: Path) -> None:
        for name, content in self.files().items():
            (folder / name).write_bytes(content)
        if self.link:
            (folder / TENSORS).unlink()
            (folder / TENSORS).symlink_to(self.link)


def flip_bit(case: Case) -> None:
    content = bytearray(case.tensors)
    content[case.rng.randrange(len(content))] ^= 1 << case.rng.randrange(8)
    case.tensors = bytes(content)


def truncate(case: Case) -> None:
    case.tensors = case.tensors[: case.rng.randrange(len(case.tensors))]


def truncate_sealed(case: Case) -> None:
    case.tensors = case.tensors[: case.rng.randrange(1, len(case.tensors))]
    case.seal()


def append_sealed(case: Case) -> None:
    case.tensors += case.rng.randbytes(case.rng.randrange(1, 4096))
    case.seal()


def header_length_sealed(case: Case) -> None:
    true = int.from_bytes(case.tensors[:8], "little")
    length = case.rng.choice([0, 1, true - 8, true + 8, len(case.tensors), 2**31, 2**40, 2**63, 2**64 - 1])
    case.tensors = length.to_bytes(8, "little") + case.tensors[8:]
    case.seal()


def header_bytes_sealed(case: Case) -> None:
    """A byte of a tensor's own entry; that of the metadata would be harmless."""
    header, data = case.split()
    header.pop("__metadata__", None)
    text = bytearray(json.dumps(header, separators=(",", ":")).encode())
    place = case.rng.randrange(len(text))
    text[place] ^= 1 << case.rng.randrange(8)
    case.join(bytes(text), data)
    case.seal()


def rename_key_sealed(case: Case) -> None:
    header, data = case.split()
    name = case.rng.choice([key for key in header if key != "__metadata__"])
    other = case.rng.choice([name + "_", name.upper() + "X", "../" + name, "/" + name, "", "a" * 10_000, name[:-1]])
    header[other] = header.pop(name)
    case.join(header, data)
    case.seal()


def remove_key_sealed(case: Case) -> None:
    header, data = case.split()
    name = max((key for key in header if key != "__metadata__"), key=lambda key: header[key]["data_offsets"][1])
    first, _ = header.pop(name)["data_offsets"]
    case.join(header, data[:first])
    case.seal()


def duplicate_key_sealed(case: Case) -> None:
    header, data = case.split()
    name = case.rng.choice([key for key in header if key != "__metadata__"])
    twice = json.dumps(header)[:-1] + "," + json.dumps({name: {**header[name], "shape": [7]}})[1:]
    case.join(twice.encode(), data)
    case.seal()


def shape_sealed(case: Case) -> None:
    header, data = case.split()
    entry = header[case.rng.choice([key for key in header if key != "__metadata__"])]
    shape = entry["shape"]
    entry["shape"] = case.rng.choice(
        [[*shape, 1], [1, *shape], [*shape[::-1], 1], [2**40], [-1], [0], [2**62, 4], shape[:-1]]
    )
    case.join(header, data)
    case.seal()


def dtype_sealed(case: Case) -> None:
    header, data = case.split()
    entry = header[case.rng.choice([key for key in header if key != "__metadata__"])]
    entry["dtype"] = case.rng.choice(["I32", "F16", "F64", "BF16", "BOOL", "U32", "Q7", "", "float32"])
    case.join(header, data)
    case.seal()


def offsets_sealed(case: Case) -> None:
    header, data = case.split()
    entry = header[case.rng.choice([key for key in header if key != "__metadata__"])]
    first, last = entry["data_offsets"]
    entry["data_offsets"] = case.rng.choice(
        [[last, first + 1], [first, last + 4], [first + 4, last], [0, 2**50], [2**63, 2**64 - 1], [-4, last], [first]]
    )
    case.join(header, data)
    case.seal()


def pickle_for_safetensors(case: Case) -> None:
    case.tensors = b"\x80\x04\x95" + case.rng.randbytes(500)
    if case.rng.random() < 0.5:
        case.seal()


def config_key(case: Case) -> None:
    """A required key missing, renamed, or of another type; or one that nobody knows."""
    key = case.rng.choice(["format", "model", "config", "plugin", "zoo_version", "dtype", "weights"])
    value = case.config.pop(key)
    other = case.rng.choice([None, key + "_", key.upper(), key])
    if other:
        wrong = [v for v in ([], {}, 7, "x", None, True, 1.5, [[]], -1) if type(v) is not type(value)]
        case.config[other] = value if other != key else case.rng.choice(wrong)


def config_argument(case: Case) -> None:
    """A constructor argument of another value, size or type."""
    arguments = case.config["config"]
    key = case.rng.choice([key for key in arguments if key != "image_shape"])
    giant = [2**31, 2**40, 2**62, 10**18, arguments[key] * 1000, arguments[key] + 1]
    arguments[key] = case.rng.choice([*giant, 0, -1, "7", None, [], {}, [7], 1.5, True])


def config_shape(case: Case) -> None:
    wrong = [[], [1], [1, 2**20, 2**20], [2**40, 1, 1], [3, 28, 28], [-1, 28, 28], [1, 28], "x", None, [1, "a", 3], 7]
    case.config["config"]["image_shape"] = case.rng.choice(wrong)


def config_unknown_argument(case: Case) -> None:
    case.config["config"][case.rng.choice(["depth", "__class__", "self", "../x", "image_shape ", ""])] = 3


def config_other_model(case: Case) -> None:
    case.config["model"] = case.rng.choice(
        ["gated_pixelcnn", "row_lstm", "../../x", "/etc/passwd", "", "x" * 9999, "os"]
    )


def config_text(case: Case) -> None:
    text = json.dumps(case.config).encode()
    place = case.rng.randrange(1, len(text) - 1)
    twice = text[:1] + b'"model": "pixelcnn", ' + text[1:]
    inner = text.replace(b'"levels": ', b'"levels": 2, "levels": ')
    deep = b'{"config": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    huge = text[:-1] + b', "data": "' + b"x" * 2**21 + b'"}'
    nan, infinite = text.replace(b"1", b"NaN", 1), text.replace(b'"format": 1', b'"format": 1e999')
    long = text.replace(b'"format": 1', b'"format": ' + b"9" * 5000)
    utf16 = b"\xff\xfe" + text
    wrong = [text[:place], twice, inner, deep, huge, utf16, nan, infinite, long, b" ", b"null", b"[]"]
    case.text = case.rng.choice(wrong)


def config_weights(case: Case) -> None:
    case.config["weights"] = case.rng.choice(
        [{}, {"sha256": "0" * 64, "size": len(case.tensors)}, {**case.config["weights"], "size": 1}, {"size": 5},
         {**case.config["weights"], "sha256": case.config["weights"]["sha256"].upper()}, {"sha256": "../x", "size": 3},
         {**case.config["weights"], "size": 2**62}, {**case.config["weights"], "size": -1}]
    )  # fmt: skip


def link(case: Case) -> None:
    case.link = case.rng.choice(["/etc/passwd", "/dev/zero", "../outside", "../../../../etc/hostname", "nothing", "."])


DAMAGES: list[Callable[[Case], None]] = [
    flip_bit, truncate, truncate_sealed, append_sealed, header_length_sealed, header_bytes_sealed, rename_key_sealed,
    remove_key_sealed, duplicate_key_sealed, shape_sealed, dtype_sealed, offsets_sealed, pickle_for_safetensors,
    config_key, config_argument, config_shape, config_unknown_argument, config_other_model, config_text, config_weights,
    link,
]  # fmt: skip


def peak(action: Callable[[], str]) -> tuple[str, int]:
    """What an action returns, and by how many bytes the process grew at most while it ran."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = memory("VmRSS")
    result = action()
    return result, memory("VmHWM") - before


def memory(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def outcome(action: Callable[[], object]) -> str:
    from zoo.errors import ZooError

    try:
        action()
        return "loaded"
    except ZooError as error:
        text = str(error)
        return "refused" if "\n" not in text and len(text) < 1000 else f"unclear: {text[:200]!r}"
    except BaseException as error:
        return f"traceback: {type(error).__name__}: {str(error)[:200]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--hub", type=int, default=100, help="how many cases to load through a Hub besides")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    import hub_server

    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as home, hub_server.running() as server:
        os.environ |= server.environment(home)
        import torch

        import zoo
        from zoo import hub
        from zoo.hub import cache

        torch.set_num_threads(1)
        work = Path(home)
        model = zoo.build("pixelcnn", preset="mnist", width=128)
        folder = hub.save(model, work / "honest")
        honest = {name: (folder / name).read_bytes() for name in (CONFIG, TENSORS)}
        (work / "outside").write_bytes(honest[TENSORS])
        size = len(honest[TENSORS])
        _, usual = peak(lambda: outcome(lambda: zoo.load("pixelcnn", weights=str(folder), device="cpu")))

        found: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        largest = 0
        broken = work / "broken"
        for number in range(arguments.count):
            damage = DAMAGES[number % len(DAMAGES)]
            case = Case(copy.copy(honest), rng)
            damage(case)
            shutil.rmtree(broken, ignore_errors=True)
            broken.mkdir()
            case.write(broken)
            del case
            result, grown = peak(lambda: outcome(lambda: zoo.load("pixelcnn", weights=str(broken), device="cpu")))
            found[damage.__name__][result] += 1
            largest = max(largest, grown)

        dirty = 0
        for number in range(arguments.hub):
            case = Case(copy.copy(honest), rng)
            damage = rng.choice([flip_bit, truncate, config_text, config_key, config_weights])
            damage(case)
            repo = server.repos.setdefault(f"models/me/m{number}", hub_server.Repo())
            sent = repo.add("main", "damaged", {"README.md": b"x", **case.files()})
            load = functools.partial(zoo.load, "pixelcnn", weights=f"me/m{number}@{sent}", device="cpu")
            found[f"hub: {damage.__name__}"][outcome(load)] += 1
            mended = repo.add("main", "mended", {"README.md": b"x", **honest})
            load = functools.partial(zoo.load, "pixelcnn", weights=f"me/m{number}@{mended}", device="cpu")
            first = outcome(load)
            copy_of = cache.cached(f"me/m{number}", mended)
            for name, content in case.files().items() if copy_of else ():
                (copy_of / name).resolve().write_bytes(content)  # the same damage, in the cache alone
            dirty += (first, outcome(load)) != ("loaded", "loaded")
            shutil.rmtree(work / "hub", ignore_errors=True)

    total: collections.Counter[str] = collections.Counter()
    for name, counts in found.items():
        print(f"{name}: " + ", ".join(f"{count} {result}" for result, count in counts.items()))
        total.update({result.partition(":")[0]: count for result, count in counts.items()})
    print(
        f"{sum(total.values())} damaged folders: {total['loaded']} loaded, {total['traceback']} tracebacks, "
        f"{total['unclear']} unclear messages, {dirty} caches that a new download did not mend; "
        f"largest growth {largest / size:.2f} times the honest file (honest loading {usual / size:.2f})"
    )
    print(json.dumps({**total, "dirty": dirty, "largest_growth": largest / size}))


if __name__ == "__main__":
    main()
