"""Memory of large tensors is reused."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
from conftest import ROOT

FAULTS = """
import resource, sys, torch
from zoo.cli import memory
if sys.argv[1] == "keep":
    assert memory.keep_freed()
for _ in range(20):  # until the heap has found its size
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_large_tensors_are_not_faulted_in_again() -> None:
    """Twenty tensors of 64 MiB, each freed before the next, are 327,680 pages."""

    def faults(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, cwd=ROOT, check=True, timeout=120
        )
        return int(done.stdout)

    assert faults("keep") < 20_000
    assert faults("keep") < faults("default") / 4
