"""What may be wrong with this installation, and what to do about it. Only `_devices` imports torch.

A check that fails is a finding like any other, so that the rest is still told.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import zoo
from zoo import registry
from zoo.errors import ZooError, discreet, one_line
from zoo.files import digest
from zoo.hub.config import TENSORS, is_pointer
from zoo.plugins import DISTRIBUTION, checkout
from zoo.spec import Weights
from zoo.version import __version__

OK, WARNING, PROBLEM = "ok", "warning", "problem"
LITTLE_SPACE = 2 * 10**9  # bytes


@dataclass(frozen=True)
class Finding:
    """What one check found; `mend` is one line of what to do about it, empty if there is nothing to do."""

    check: str
    status: str
    detail: str
    mend: str = ""


def examine() -> list[Finding]:
    """The findings of all checks; never raises."""
    with ThreadPoolExecutor(1) as pool:
        endpoint = pool.submit(_run, _endpoint)  # which may take seconds, meanwhile
        return [finding for check in CHECKS for finding in _run(check)] + endpoint.result()


def _run(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of plugins and libraries that may be broken in any way
        kind = "" if isinstance(error, ZooError) else f"{type(error).__name__}: "
        text = one_line(f"this can't be checked: {kind}{error}")
        found.append(Finding(check.__name__.strip("_"), PROBLEM, text, "mend what this names, then look again"))
    return found


# What is installed


def _versions() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    yield Finding("python", OK, f"{platform.python_version()}, {sys.executable}")
    yield Finding(DISTRIBUTION, OK, f"{__version__}, {Path(zoo.__file__).parent}")
    for requirement in map(Requirement, _needed()):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        mend = f"python -m pip install '{requirement.name}{requirement.specifier}'"
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding(requirement.name, PROBLEM, "not installed", mend)
            continue
        if requirement.specifier.contains(version, prereleases=True):
            yield Finding(requirement.name, OK, version)
        else:
            yield Finding(requirement.name, PROBLEM, f"{version}, but {requirement.specifier} is needed", mend)


def _needed() -> list[str]:
    """The requirements of a checkout by its own table, else those of the installed copy."""
    root = checkout()
    if root is None:
        return metadata.requires(DISTRIBUTION) or []
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed: list[str] = project["dependencies"]
    return needed


def _plugins() -> Iterator[Finding]:
    records = registry.plugins().records
    for record in records:
        if record.state == "broken":
            mend = f"update or uninstall {record.distribution}, or set ZOO_DISABLE={record.name}"
            yield Finding("plugins", PROBLEM, one_line(f"{record.origin} is broken: {record.error}"), mend)
    off = ", ".join(record.name for record in records if record.state == "disabled")
    working = [record for record in records if record.state == "ok"]
    models = sum(len(record.models) for record in working)
    disabled = f"; disabled by ZOO_DISABLE: {off}" if off else ""
    yield Finding("plugins", OK, f"{len(working)} work, with {models} models{disabled}")


def _weights() -> Iterator[Finding]:
    """The bundled weights against their pins."""
    root, sound = checkout(), 0
    for spec in registry.models():
        for tag, pin in spec.weights.items():
            path = (root or Path(registry.__file__).parent) / "model_cards" / pin.folder_name / TENSORS
            if path.is_file():
                trouble = _differs(path, pin)
                sound += trouble is None
            elif pin.revision is None:
                trouble = "only bundled with the source, and not here", "take a checkout of the source"
            else:
                continue
            if trouble is not None:
                yield Finding("weights", PROBLEM if root else WARNING, f"{spec.name}:{tag}: {trouble[0]}", trouble[1])
    yield Finding("weights", OK, f"{sound} bundled with the source, as pinned")


def _differs(path: Path, pin: Weights) -> tuple[str, str] | None:
    """How a file differs from its pin, and the mend."""
    if is_pointer(path):
        return f"'{path}' is a Git LFS pointer", "git lfs pull"
    size = path.stat().st_size
    if size != pin.size:
        return f"'{path}' has {size} bytes, but the pin says {pin.size}", f"git checkout -- '{path}'"
    if (found := digest(path)) != pin.sha256:
        return f"'{path}' has sha256 {found}, but the pin says {pin.sha256}", f"git checkout -- '{path}'"
    return None


# The machine


def _cache() -> Iterator[Finding]:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE).expanduser()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    detail = f"{folder}, {_gigabytes(free)} free"
    if not (there.is_dir() and os.access(there, os.W_OK)):
        yield Finding("cache", WARNING, f"{detail}; it can't be written", "set HF_HOME to a folder that can be")
    elif free < LITTLE_SPACE:
        yield Finding("cache", WARNING, detail, "make room, or set HF_HOME to a folder on another disk")
    else:
        yield Finding("cache", OK, detail)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("cpu", OK, f"{torch.get_num_threads()} threads, {os.cpu_count()} cores")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    present = any(Path("/dev").glob("nvidia[0-9]*")) or shutil.which("nvidia-smi") is not None
    build = "https://pytorch.org/get-started/locally"
    if not usable and present and torch.version.cuda is None:
        detail = f"there is a device, but torch {torch.__version__} is built without CUDA"
        yield Finding("cuda", WARNING, detail, f"install a build with CUDA: {build}")
    elif not usable and present:
        reason = "; ".join(one_line(warning.message, 160) for warning in said)
        detail = f"torch {torch.__version__} finds no device{': ' if reason else ''}{reason}"
        yield Finding("cuda", WARNING, detail, "look at 'nvidia-smi', CUDA_VISIBLE_DEVICES and the driver")
    elif not usable:
        yield Finding("cuda", OK, "no device; everything runs on the CPU")
    for i in range(torch.cuda.device_count() if usable else 0):
        found = torch.cuda.get_device_properties(i)
        detail = f"{i}: {found.name}, capability {found.major}.{found.minor}, {_gigabytes(found.total_memory)}"
        try:
            torch.ones(1, device=f"cuda:{i}").add(1).item()
            yield Finding("cuda", OK, detail)
        except RuntimeError as error:
            yield Finding("cuda", PROBLEM, f"{detail}; {one_line(error, 160)}", f"install a build for it: {build}")


def _token() -> Iterator[Finding]:
    from huggingface_hub import get_token

    if get_token():
        yield Finding("token", OK, "present")
    else:
        yield Finding("token", OK, "none; 'hf auth login' or HF_TOKEN, to publish or to read private repositories")


def _endpoint() -> Iterator[Finding]:
    from huggingface_hub import constants

    from zoo.hub.network import unreachable

    name = discreet(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE:
        detail = f"{name}; offline mode is on, so that only the cache is used"
        yield Finding("endpoint", WARNING, detail, "unset HF_HUB_OFFLINE to download")
    elif (trouble := unreachable()) is not None:
        mend = "check the network and HF_ENDPOINT; without a network, HF_HUB_OFFLINE=1 saves the wait"
        yield Finding("endpoint", WARNING, f"{name} can't be reached: {discreet(trouble, 160)}", mend)
    else:
        yield Finding("endpoint", OK, f"{name} answers")


CHECKS = (_versions, _plugins, _weights, _cache, _devices, _token)
