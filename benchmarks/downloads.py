"""Downloads side by side and downloads killed, from a server on this machine: counts of what came out right.

    python benchmarks/downloads.py                         # 8 processes x 3 models; 50 kills
    python benchmarks/downloads.py --kills 200 --seed 1

The server sends slowly enough that processes meet and kills land within a transfer. A copy is right if its bytes are
those that the server has, and the cache is clean if it holds each file once and no part of one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import hub_server

REPOS = ("me/one", "me/two", "me/three")
fork = multiprocessing.get_context("fork")  # so that torch is imported once


def serve_models(server: hub_server.Server, folder: Path, width: int) -> dict[str, str]:
    """Put three models on the server; repository -> commit."""
    import zoo

    commits = {}
    for repo in REPOS:
        model = zoo.build("pixelcnn", preset="tiny", width=width)
        saved = zoo.save(model, folder / repo, samples=0, golden=False)
        made = server.repos[f"models/{repo}"] = hub_server.Repo()
        commits[repo] = made.add("main", repo, {path.name: path.read_bytes() for path in saved.iterdir()})
    return commits


def download(sources: list[str], home: Path) -> None:
    from huggingface_hub import constants

    from zoo import hub

    constants.HF_HUB_CACHE = str(home)
    for source in sources:
        hub.download(source)


def start(sources: list[str], home: Path) -> Any:
    process = fork.Process(target=download, args=(sources, home))
    process.start()
    return process


def is_right(server: hub_server.Server, repo: str, commit: str, home: Path) -> bool:
    """Whether the cache has the files of one repository, byte for byte."""
    snapshot = home / f"models--{repo.replace('/', '--')}" / "snapshots" / commit
    content = server.repos[f"models/{repo}"].commits[commit][1]
    names = ("config.json", "model.safetensors")
    return all((snapshot / name).is_file() and (snapshot / name).read_bytes() == content[name] for name in names)


def blobs(home: Path) -> list[Path]:
    """All there is in the cache, whole files and parts."""
    return list(home.glob("models--*/blobs/*"))


def side_by_side(server: hub_server.Server, commits: dict[str, str], home: Path, count: int) -> None:
    sources = [f"{repo}@{commit}" for repo, commit in commits.items()]
    begun = time.perf_counter()
    processes = [start(sources, home) for _ in range(count)]
    for process in processes:
        process.join()
    done = sum(process.exitcode == 0 for process in processes)
    right = sum(is_right(server, repo, commit, home) for repo, commit in commits.items())
    print(
        f"{count} processes, {len(commits)} models at once: {done} of {count} ended well, {right} of {len(commits)} "
        f"models identical to the server's, {len(blobs(home))} files in the cache for {2 * len(commits)}, "
        f"{server.count('GET', '/model.safetensors')} transfers of tensors, {time.perf_counter() - begun:.1f} s"
    )


def killed(server: hub_server.Server, repo: str, commit: str, folder: Path, kills: int, seed: int) -> None:
    source, chance = f"{repo}@{commit}", random.Random(seed)
    begun = time.perf_counter()
    process = start([source], folder / "whole")
    process.join()
    whole = time.perf_counter() - begun
    within = left = recovered = clean = 0
    for i in range(kills):
        home = folder / f"kill-{i}"
        process = start([source], home)
        time.sleep(chance.uniform(0, whole))
        process.kill()
        process.join()
        within += process.exitcode != 0
        parts = [path for path in blobs(home) if path.name.endswith(".incomplete")]
        left += len(parts)
        for part in parts:  # ten minutes pass, after which nobody can still be writing
            os.utime(part, (time.time() - 3600,) * 2)
        process = start([source], home)
        process.join()
        recovered += process.exitcode == 0 and is_right(server, repo, commit, home)
        clean += len(blobs(home)) == 2
    print(
        f"{kills} kills within {whole:.2f} s (seed {seed}): {within} before the end, {left} parts left behind; "
        f"{recovered} of {kills} recovered, {clean} of {kills} caches clean afterwards"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=128, help="of the models")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as name, hub_server.running() as server:
        folder = Path(name)
        os.environ |= server.environment(folder / "home")
        commits = serve_models(server, folder, arguments.width)
        size = len(server.repos[f"models/{REPOS[0]}"].commits[commits[REPOS[0]]][1]["model.safetensors"])
        server.rate = size / 0.4
        print(f"models of {size / 1e6:.1f} MB, sent at {server.rate / 1e6:.1f} MB/s")
        side_by_side(server, commits, folder / "cache", arguments.processes)
        killed(server, REPOS[0], commits[REPOS[0]], folder, arguments.kills, arguments.seed)


if __name__ == "__main__":
    main()
