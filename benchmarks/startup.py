"""Seconds that the zoo adds to what it stands on, in processes of their own, medians of one run.

    python benchmarks/startup.py

`import zoo` stands on Python, loading and sampling on `import torch`; `zoo list` is compared with the Hub client alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOAD = "import zoo; zoo.load('pixelcnn', weights={folder!r}, device='cpu')"
SAMPLE = "from zoo.cli import main; main(['sample', 'pixelcnn', '--weights', 'mnist', '-n', '16', '-o', {picture!r}])"
SAVE = "import zoo; zoo.save(zoo.build('pixelcnn', preset='mnist', width=96), {folder!r})"


def seconds(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as work:
        folder = f"{work}/weights"
        subprocess.run([sys.executable, "-c", SAVE.format(folder=folder)], check=True, cwd=ROOT)
        size = Path(folder, "model.safetensors").stat().st_size / 1e6
        codes = {
            "python": "pass",
            "import zoo": "import zoo",
            "from huggingface_hub import HfApi": "from huggingface_hub import HfApi",
            "zoo list": "from zoo.cli import main; main(['list'])",
            "import torch": "import torch",
            f"zoo.load, {size:.1f} MB": LOAD.format(folder=folder),
            "zoo sample, 16 digits": SAMPLE.format(picture=f"{work}/digits.png"),
        }
        times: dict[str, list[float]] = {name: [] for name in codes}
        for _ in range(runs + 1):  # the first warms the disk's cache
            for name, code in codes.items():
                times[name].append(seconds(code))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    beyond = {"import zoo": "python", "zoo list": "python"}
    for name, value in medians.items():
        base = beyond.get(name) or ("import torch" if name.startswith(("zoo.load", "zoo sample")) else None)
        extra = f", {value - medians[base]:.2f} s beyond {base}" if base else ""
        print(f"{name}: {value:.2f} s{extra}")


if __name__ == "__main__":
    main()
