"""The time that every batch of samples takes, as a line of JSON in the file that ZOO_SAMPLING_TIMES names.

A wrapper runs around the `zoo_sample` of whatever plugin owns the model: the code above `yield` before it, the code below
after it. What it returns is what the zoo gets; this one gives on the very pictures that it received.
"""

from __future__ import annotations

import json
import os
import time
import warnings

from zoo import hookimpl


@hookimpl(wrapper=True)
def zoo_sample(spec, model, request):
    path = os.environ.get("ZOO_SAMPLING_TIMES")
    if not path:
        return (yield)
    begun = clock(request.device)
    images = yield
    record(path, spec, request, clock(request.device) - begun)
    return images


def clock(device):
    """Seconds, when the device has done all it was asked to: CUDA is still at work when Python goes on."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter()


def record(path, spec, request, seconds):
    """Add one line. Pictures are worth more than their time: a file that can't be written is only a warning."""
    values = {"model": spec.name, "device": str(request.device), "seed": request.seed}
    values |= {"start": request.indices.start, "n": request.n, "seconds": round(seconds, 6)}
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
    except OSError as error:
        warnings.warn(f"can't write the time of a batch: {error}", stacklevel=2)
