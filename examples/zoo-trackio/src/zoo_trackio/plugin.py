"""Training runs in trackio, which keeps them on this machine: settings, metrics, sample grids and clips.

A project holds the runs of one model, or all of them if ZOO_TRACKIO_PROJECT names it; a run is called as its folder.
"""

from __future__ import annotations

import dataclasses
import os

from zoo import hookimpl

LEFT_OUT = ("seen", "minutes")  # of a line of metrics: the step, and the clock
opened = {}  # run folder -> trackio's run, and the files of samples that it has


@hookimpl
def zoo_run_started(run):
    import trackio

    project = os.environ.get("ZOO_TRACKIO_PROJECT") or f"zoo-{run.spec.name}"
    config = {**dataclasses.asdict(run.settings), "model": run.spec.name, "network": dict(run.model.config)}
    tracked = trackio.init(project=project, name=run.folder.name, config=config, resume="allow", embed=False)
    opened[run.folder] = tracked, set(samples(run))


@hookimpl
def zoo_run_logged(run, metrics):
    tracked, _ = opened[run.folder]
    tracked.log({name: value for name, value in metrics.items() if name not in LEFT_OUT}, step=metrics["seen"])
    send_samples(run)


@hookimpl
def zoo_run_checkpointed(run, path):
    send_samples(run)


@hookimpl
def zoo_run_finished(run, summary):
    send_samples(run)
    tracked, _ = opened.pop(run.folder)
    tracked.finish()


def samples(run):
    """Sample files of the run, which are called by the examples seen: a .png each, and a .gif if they are clips."""
    return sorted(path for path in (run.folder / "samples").glob("[0-9]*.*") if path.suffix in (".png", ".gif"))


def send_samples(run):
    """Log the sample files that are new since the last event."""
    import trackio

    tracked, sent = opened[run.folder]
    for path in samples(run):
        if path not in sent:
            seen, _, name = path.stem.partition("-")
            picture = trackio.Video(path) if path.suffix == ".gif" else trackio.Image(path)
            tracked.log({name or ("clips" if path.suffix == ".gif" else "samples"): picture}, step=int(seen))
            sent.add(path)
