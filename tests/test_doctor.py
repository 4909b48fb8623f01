"""`zoo doctor` names what is wrong and what to do about it, whatever is broken."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import constants

import zoo
from zoo import plugins, registry
from zoo.cli import main
from zoo.errors import PluginError
from zoo.files import digest
from zoo.hub import network
from zoo.hub.config import TENSORS
from zoo.plugins import PluginRecord, PluginSet
from zoo.spec import Weights
from zoo_tools import doctor
from zoo_tools.doctor import Finding


@pytest.fixture(autouse=True)
def _nothing_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of our own, no token, and a Hub that answers without being asked."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(network, "unreachable", lambda: None)


def only(check: Callable[[], Iterator[Finding]], status: str) -> Finding:
    """The one finding of a check that has this status."""
    [found] = [finding for finding in doctor._run(check) if finding.status == status]
    assert "\n" not in found.detail + found.mend
    assert status == doctor.OK or found.mend
    return found


# The whole


def test_the_report(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    code = main(["doctor", "--json"])
    text = capsys.readouterr().out
    rows = json.loads(text)
    assert all(set(row) == {"check", "status", "detail", "mend"} for row in rows)
    assert all(row["mend"] for row in rows if row["status"] != "ok")
    named = {row["check"] for row in rows}
    assert named >= {
        "python",
        "pixelzoo",
        "torch",
        "huggingface_hub",
        "safetensors",
        "datasets",
        "accelerate",
        "pluggy",
    }
    assert named >= {"plugins", "weights", "cache", "cpu", "cuda", "token", "endpoint"}
    assert code == any(row["status"] == "problem" for row in rows)
    assert "hf_secret" not in text
    assert doctor.Finding("token", "ok", "present") in doctor.examine()


def test_exit_code_and_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Finding("python", "ok", "3.11"), Finding("endpoint", "warning", "no answer", "check the network")]
    monkeypatch.setattr(doctor, "examine", lambda: found)
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok       python    3.11",
        "warning  endpoint  no answer",
        "                   -> check the network",
        "1 ok, 1 warning",
    ]
    found.append(Finding("torch", "problem", "not installed", "install it"))
    assert main(["doctor"]) == 1


@pytest.mark.parametrize("error", [RuntimeError("two\nlines"), SystemExit(3), PluginError("a plugin is broken")])
def test_a_check_that_fails_is_a_finding(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def _odd() -> Iterator[Finding]:
        yield Finding("odd", "ok", "so far")
        raise error

    monkeypatch.setattr(doctor, "CHECKS", (_odd, doctor._token))
    monkeypatch.setattr(network, "unreachable", lambda: 1 / 0)
    first, failed, token, endpoint = doctor.examine()
    assert (first.status, token.check) == ("ok", "token")
    assert (failed.check, failed.status) == ("odd", "problem")
    assert " ".join(str(error).split()) in failed.detail
    assert "ZeroDivisionError" in endpoint.detail


def test_without_torch_everything_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    found = {finding.check: finding for finding in doctor.examine()}
    assert found["devices"].status == "problem"
    assert "torch" in found["devices"].detail
    assert found["plugins"].status == found["cache"].status == "ok"


# What is installed


def test_missing_and_old_dependencies(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["pluggy>=99", "no-such-package>=1.5", "torch>=1; python_version < '3'", "numpy"]
    monkeypatch.setattr(doctor, "_needed", lambda: needed)
    found = {finding.check: finding for finding in doctor._run(doctor._versions)}
    assert "torch" not in found
    assert found["numpy"].status == "ok"
    assert found["pluggy"].detail.endswith("but >=99 is needed")
    assert found["no-such-package"] == Finding(
        "no-such-package", "problem", "not installed", "python -m pip install 'no-such-package>=1.5'"
    )


def test_an_installed_copy_reads_its_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["torch>=1", "pytest; extra == 'test'"]
    monkeypatch.setattr(doctor, "checkout", lambda: None)
    monkeypatch.setattr(doctor.metadata, "requires", {"pixelzoo": needed}.get)
    assert {finding.check for finding in doctor._run(doctor._versions)} == {"python", "pixelzoo", "torch"}


def test_broken_and_duplicate_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [found for found in plugins.candidates() if found.name == "pixelcnn"]
    gone = PluginRecord("gone", "zoo_gone.plugin", "zoo-gone", "1.0")
    twin = PluginRecord("twin", "zoo_pixelcnn.plugin", "zoo-twin", "2.0")
    monkeypatch.setenv("ZOO_DISABLE", "off")
    found = PluginSet(found=[*ours, gone, twin, PluginRecord("off", "zoo_off.plugin", "zoo-off", "1.0")])
    monkeypatch.setattr(registry, "_discover", lambda: found)
    *broken, summary = doctor._run(doctor._plugins)
    assert [finding.status for finding in broken] == ["problem"] * 2
    assert "zoo-gone 1.0 (plugin 'gone') is broken: ModuleNotFoundError" in broken[0].detail
    assert broken[0].mend == "update or uninstall zoo-gone, or set ZOO_DISABLE=gone"
    assert "zoo-twin 2.0" in broken[1].detail
    assert summary.detail.endswith("disabled by ZOO_DISABLE: off")


def test_bundled_weights_against_their_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model_cards" / "tiny" / TENSORS
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    spec = dataclasses.replace(
        zoo.models()[0],
        weights={
            "here": Weights(repo="me/tiny", revision=None, sha256=digest(path), size=7),
            "there": Weights(repo="me/elsewhere", revision="0" * 40, sha256="0" * 64, size=7),
        },
    )
    monkeypatch.setattr(registry, "models", lambda: [spec])
    monkeypatch.setattr(doctor, "checkout", lambda: tmp_path)
    assert only(doctor._weights, "ok").detail.startswith("1 bundled")
    for content, detail, mend in (
        (b"weighty", "has sha256", "git checkout"),
        (b"short", "has 5 bytes, but the pin says 7", "git checkout"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer", "git lfs pull"),
    ):
        path.write_bytes(content)
        found = only(doctor._weights, "problem")
        assert f"{spec.name}:here: '{path}' {detail}" in found.detail
        assert mend in found.mend
    path.unlink()
    assert "only bundled with the source" in only(doctor._weights, "problem").detail
    monkeypatch.setattr(doctor, "checkout", lambda: None)
    assert "only bundled with the source" in only(doctor._weights, "warning").detail


# The machine


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(doctor._cache, "ok").detail.startswith(f"{tmp_path / 'hub'}, ")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    assert "1.0 GB free" in only(doctor._cache, "warning").detail
    assert "HF_HOME" in only(doctor._cache, "warning").mend
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    assert "can't be written" in only(doctor._cache, "warning").detail


def test_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "https://me:secret@hub.example")
    assert only(doctor._endpoint, "ok").detail == "https://hub.example answers"
    monkeypatch.setattr(network, "unreachable", lambda: "no route to https://me:secret@hub.example/api")
    detail = "https://hub.example can't be reached: no route to https://hub.example/api"
    assert only(doctor._endpoint, "warning").detail == detail
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert only(doctor._endpoint, "warning").mend == "unset HF_HUB_OFFLINE to download"


class Device:
    name, major, minor, total_memory = "H200", 9, 0, 140 * 10**9


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "built without CUDA" in only(doctor._devices, "warning").detail
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert "nvidia-smi" in only(doctor._devices, "warning").mend

    def ones(*shape: int, device: str) -> Any:
        if device == "cuda:1":
            raise RuntimeError("no kernel image is available")
        return torch.zeros(1)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Device)
    monkeypatch.setattr(torch, "ones", ones)
    assert "1: H200, capability 9.0, 140.0 GB; no kernel image" in only(doctor._devices, "problem").detail
    assert "0: H200, capability 9.0, 140.0 GB" in [finding.detail for finding in doctor._run(doctor._devices)]


@pytest.mark.gpu
def test_a_real_device_works() -> None:
    name = torch.cuda.get_device_name(0)
    assert any(name in finding.detail and finding.status == "ok" for finding in doctor._run(doctor._devices))
