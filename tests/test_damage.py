"""Hostile weights folders: parsers under random input, and a sample of `benchmarks/damaged_weights.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from zoo.errors import WeightsError
from zoo.hub.config import parse_config
from zoo.hub.read import _header

ROOT = Path(__file__).resolve().parent.parent
HONEST = json.loads((ROOT / "model_cards/pixelcnn-mnist/config.json").read_text())

steady = settings(
    derandomize=True, max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def refused(read: Callable[[Any], Any], what: Any) -> Any:
    """What `read` gives, or nothing if it refuses as it should: in one line."""
    try:
        return read(what)
    except WeightsError as error:
        text = str(error)
    assert "\n" not in text
    assert len(text) < 1000
    return None


@steady
@given(st.binary(max_size=300))
def test_bytes_are_no_config(content: bytes) -> None:
    assert refused(parse_config, content) is None


@steady
@given(values)
def test_json_is_no_config(value: object) -> None:
    assert refused(parse_config, json.dumps(value).encode()) is None


@steady
@given(st.sampled_from([*HONEST, "x"]), values)
@example("weights", {"sha256": "0" * 64, "size": True})
@example("golden", {"seed": 0, "options": {}, "shape": [2**40, 2**40], "pixels": ""})
def test_a_config_that_passes_holds_what_it_promises(key: str, value: object) -> None:
    config = refused(parse_config, json.dumps({**HONEST, key: value}).encode())
    if config is not None:
        assert isinstance(config.config, dict)
        assert isinstance(config.model, str)
        assert config.size > 0
        assert len(config.sha256) == 64
        assert key in HONEST


@steady
@given(st.binary(max_size=64), st.integers(0, 2**64 - 1) | st.none(), values)
def test_bytes_are_no_tensors(tmp_path: Path, data: bytes, length: int | None, header: object) -> None:
    text = json.dumps(header).encode()
    content = (len(text) if length is None else length).to_bytes(8, "little") + text + data
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    if (found := refused(_header, path)) is not None:
        assert found == {}  # no tensor came out of it
        assert header == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of memory is read from /proc")
def test_damaged_folders_never_load() -> None:
    script = ROOT / "benchmarks" / "damaged_weights.py"
    done = subprocess.run(
        [sys.executable, script, "--count", "21", "--hub", "3", "--seed", "1"],
        capture_output=True,
        text=True,
        env={"PATH": "", "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert {name: count for name, count in counts.items() if count} == {
        "refused": 24,
        "largest_growth": counts["largest_growth"],
    }
    assert counts["largest_growth"] < 2
