"""torch.hub entry points: one for every registered model, third-party ones included.

    torch.hub.load("<owner>/pixelzoo", "pixelcnn", weights="mnist").sample(16)

`torch.hub.list` names them; `torch.hub.help` shows paper, presets, options and weights.
"""

dependencies = ["torch", "safetensors", "huggingface_hub", "pluggy", "numpy", "PIL"]

# Every public callable here becomes an entry point, so helpers begin with an underscore.
try:
    import zoo as _zoo
    from zoo.device import pick_device as _pick_device
except ImportError as _error:
    import os as _os
    import sys as _sys

    _found = [*getattr(_sys.modules.get("zoo"), "__path__", []), getattr(_sys.modules.get("zoo"), "__file__", None)]
    _ours = _os.path.join(_os.path.dirname(_os.path.abspath(__file__)), "zoo")
    if _found in ([None], [_ours, _os.path.join(_ours, "__init__.py")]):  # then something else is missing
        raise
    raise ImportError(f"pixelzoo can't be imported: another module 'zoo' is in its way, '{_found[0]}'") from _error


def _document(spec):
    lines = [spec.summary + ".", "", f"Paper: {spec.paper}", "", "Args:"]
    lines.append("    weights: tag, folder, or 'owner/repo[@revision]'; None gives a fresh model.")
    lines.append("    device: 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'.")
    lines.append("    preset, **overrides: constructor arguments of a fresh model.")
    lines += ["", "Weights: " + (", ".join(f"{t} ({w.summary})" for t, w in spec.weights.items()) or "none yet")]
    lines += ["Presets: " + ", ".join(spec.presets), "", "Options of model.sample:"]
    lines += [f"    {o.name}={o.default!r}: {o.help} ({o.describe()})" for o in spec.sample_options]
    return "\n".join(lines)


def _entry(spec):
    def entry(weights=None, *, device="auto", preset=None, **overrides):
        if "pretrained" in overrides:
            tags = ", ".join(repr(tag) for tag in spec.weights) or "none yet"
            raise _zoo.ZooError(f"torch.hub takes weights= in place of pretrained=; of {spec.name} there are: {tags}")
        if weights is None:
            return _zoo.build(spec.name, preset, **overrides).to(_pick_device(device))
        if preset is not None or overrides:
            raise _zoo.ZooError(f"weights '{weights}' bring their own config; leave out preset and overrides")
        return _zoo.load(spec.name, weights=weights, device=device)

    entry.__name__ = entry.__qualname__ = spec.name
    entry.__doc__ = _document(spec)
    return entry


globals().update({_spec.name: _entry(_spec) for _spec in _zoo.models()})
