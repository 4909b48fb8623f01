"""torch.hub entry points: one for every registered model, third-party ones included.

    torch.hub.load("<owner>/pixelzoo", "pixelcnn", weights="mnist").sample(16)

`torch.hub.list` names them; `torch.hub.help` shows paper, presets, options and weights.
"""

dependencies = ["torch", "safetensors", "huggingface_hub", "pluggy", "numpy", "PIL"]

# Every public callable here becomes an entry point, so helpers begin with an underscore.
import zoo as _zoo


def _document(spec):
    lines = [spec.summary + ".", "", f"Paper: {spec.paper}", "", "Args:"]
    lines.append("    weights: tag, folder, or 'owner/repo[@revision]'; None gives a fresh model.")
    lines.append("    device: 'auto', 'cpu' or 'cuda'.")
    lines.append("    preset, **overrides: constructor arguments of a fresh model.")
    lines += ["", "Weights: " + (", ".join(f"{t} ({w.summary})" for t, w in spec.weights.items()) or "none yet")]
    lines += ["Presets: " + ", ".join(spec.presets), "", "Options of model.sample:"]
    lines += [f"    {o.name}={o.default!r}: {o.help} ({o.describe()})" for o in spec.sample_options]
    return "\n".join(lines)


def _entry(spec):
    def entry(weights=None, *, device="auto", preset=None, **overrides):
        if weights is None:
            return _zoo.build(spec.name, preset, **overrides)
        if preset is not None or overrides:
            raise _zoo.ZooError(f"weights '{weights}' bring their own config; leave out preset and overrides")
        return _zoo.load(spec.name, weights=weights, device=device)

    entry.__name__ = entry.__qualname__ = spec.name
    entry.__doc__ = _document(spec)
    return entry


globals().update({_spec.name: _entry(_spec) for _spec in _zoo.models()})
