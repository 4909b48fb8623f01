"""Metrics of what a model draws: samples beside real pictures, and paths between samples, seen by a feature network.

docs/metrics.md has their equations and protocols. FID, KID and PPL are figures of one network each; the same figure of
another network has another name, so that nobody compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from zoo.data.source import Source, find
from zoo.errors import DataError, OptionError
from zoo.media.images import to_bytes
from zoo.metrics import distances, processes
from zoo.metrics.choice import as_read
from zoo.metrics.distances import EPSILON, NEIGHBOURS, SUBSET_SIZE, SUBSETS
from zoo.metrics.features import I3D, NETWORKS, Content, Network, mean_colour
from zoo.metrics.features import load as load_network
from zoo.metrics.processes import Processes
from zoo.metrics.reals import Reals, shuffled
from zoo.model import Model
from zoo.precision import check_precision
from zoo.precision import precision as computing
from zoo.seeds import derive_seed

NETWORK = {
    "fid": "inception",
    "kid": "inception",
    "precision": "vgg16",
    "recall": "vgg16",
    "ppl": "vgg16",
    "fvd": I3D,
    "kvd": I3D,
}
# What it is called with any other network.
OTHER = {"fid": "fd", "kid": "kd", "ppl": "pl", "fvd": "fd", "kvd": "kd"}
PATHS = ("ppl", "pl")
CONTENT = "acd"
OF_SAMPLES = (*NETWORK, *dict.fromkeys(OTHER.values()), CONTENT)
CONTROLS = ("real", "shuffled", "reconstructed")
LEAST = {**dict.fromkeys(("kid", "kd", "kvd"), SUBSET_SIZE), **dict.fromkeys(("precision", "recall"), NEIGHBOURS + 1)}
COUNT = 50_000
BLOCK = 8  # paths drawn at once, so that path i is the same in any process
NO_SPLIT = "none"


@dataclass(frozen=True)
class Job:
    """One evaluation; its fields are the arguments of `zoo.metrics.evaluate`."""

    model: Model
    data: str
    split: str
    limit: int | None
    batch_size: int
    resize: bool
    count: int
    seed: int
    features: str | None
    options: dict[str, Any]
    control: str | None = None
    precision: str = "fp32"
    reading: dict[str, Any] = field(default_factory=dict)

    def measure(self, names: Sequence[str], progress: Callable[[float], None] | None = None) -> dict[str, Any]:
        """The receipts of metrics by name; none but in the first of several processes."""
        self._check(names)
        networks = self._networks(names)
        compared = [name for name in names if name not in PATHS]
        walked = [name for name in names if name in PATHS]
        how = {"resize": self.resize, "options": self.options, **self.reading}
        real = Reals.load(self.data, self.split, self.model, self.limit, self.seed, **how) if compared else None
        drawn_from, count = real, self.count
        if real is not None and self.control:
            real, drawn_from = real.halves(self.seed) if self.control != "reconstructed" else (real, real)
            count = len(real)
        source = real.source if real else find(self.data, resize=self.resize)
        for name in compared:
            if real and len(real) < (least := LEAST.get(name, 2)):
                raise OptionError(f"{name} needs at least {least} pictures, and {self.data} gives {len(real)}")
        receipts: dict[str, Any] = {}
        with processes.joined() as ours:
            work = bool(walked) * self.count + (count + len(real) if real else 0)
            meter = Meter(work / ours.count, progress)
            if real:
                used = list({networks[name].sha256: networks[name] for name in compared}.values())
                fake_features = _gathered(self._samples(ours.share(count), drawn_from), used, ours, meter)
                real_features = _gathered(real.batches(ours.share(len(real)), self.batch_size), used, ours, meter)
                for name in compared if ours.is_main else ():
                    sha256 = networks[name].sha256
                    figure = self._compare(name, real_features[sha256], fake_features[sha256])
                    receipts[name] = self._receipt(name, networks[name], figure, source, real, count)
            for name in walked:
                lengths = ours.gather(self._steps(networks[name], ours, meter))
                if lengths is not None:
                    figure = {"value": distances.path_length(lengths[: self.count]), "epsilon": EPSILON}
                    receipts[name] = self._receipt(name, networks[name], figure, source)
        return receipts

    def _check(self, names: Sequence[str]) -> None:
        """What can be known before anything is loaded or drawn; raises OptionError."""
        spec = self.model.spec
        if self.model.levels > 256:
            raise OptionError(f"{' and '.join(names)} are of pictures, and those of {spec.name} are none")
        of_clips = [name for name in names if name in ("fvd", "kvd", CONTENT)]
        if of_clips and not spec.is_video:
            raise OptionError(f"{' and '.join(of_clips)} are of clips, and {spec.name} draws pictures")
        if self.control == "shuffled" and not spec.is_video:
            raise OptionError(f"only clips have frames to shuffle, and {spec.name} draws pictures")
        if self.control == "reconstructed" and not self.model.has_encoder:
            raise OptionError(f"{spec.name} has no encoder, so it reconstructs nothing")
        check_precision(self.precision)
        for name, given in (("precision", self.precision != "fp32"), ("sampling options", bool(self.options))):
            if self.control and given:
                raise OptionError(f"control={self.control} draws nothing, so it takes no {name}")
        for name in names:
            if self.count < (least := LEAST.get(name, 2)):
                raise OptionError(f"{name} needs at least {least} samples, not {self.count}; ask for more with --count")
            if name in ("kid", "kd", "kvd"):
                distances.check_installed(name)
            if name in PATHS and not callable(getattr(self.model, "path_images", None)):
                raise OptionError(f"{name} needs paths between samples, and {spec.name} has none (no 'path_images')")
            if name in PATHS and self.control:
                raise OptionError(f"{name} is of the model alone, so control={self.control} is not for it")
            if name in PATHS and (self.options or self.precision != "fp32"):
                raise OptionError(f"{name} takes no sampling options and no precision; measure it apart")
        for option, values in self.options.items():
            if isinstance(values, list) and len(values) != self.count:
                raise OptionError(f"option '{option}' needs one value, or one for each of the {self.count} samples")

    def _networks(self, names: Sequence[str]) -> dict[str, Any]:
        """The network of each metric, which must be one that the metric's name stands for."""
        device = self.model.device
        loaded: dict[str, Network] = {}
        found: dict[str, Any] = {}
        sources = {name: self.features or NETWORK.get(name) for name in names}
        for name, source in sources.items():
            if source is None and name != CONTENT:
                own = " or ".join(dict.fromkeys(f"{NETWORK[one]} it is called {one}" for one in ones(name)))
                raise OptionError(f"{name} needs --features FILE; with {own}")
            if source == I3D:
                raise OptionError(f"{name} needs --features FILE, the {I3D} that the field uses")
            if source in NETWORKS:
                check_name(name, source)
        for name, source in sources.items():
            if source is not None and source not in loaded:
                loaded[source] = load_network(source, device)
            network = loaded[source] if source is not None else mean_colour(device)
            check_name(name, network.name)
            if network.takes_clips and (name == CONTENT or not self.model.spec.is_video):
                raise OptionError(f"{name} needs a network of pictures, and '{network.name}' sees clips")
            found[name] = Content(network) if name == CONTENT else network
        return found

    def _samples(self, rows: range, real: Reals | None) -> Iterator[torch.Tensor]:
        """Samples of the given indices, uint8, (N, C, H, W) or (N, T, C, H, W), batch by batch; of a control real ones.

        What a model draws from, such as an edge map, comes from the real examples in turn.
        """
        size = self.batch_size if not self.model.spec.is_video else max(1, self.batch_size // 8)
        for first in range(rows.start, rows.stop, size):
            last = min(first + size, rows.stop)
            batch = real.batch([i % len(real) for i in range(first, last)]) if real and self._is_given(real) else {}
            if self.control and real:
                yield self._control(batch[real.key], first)
                continue
            given = (*real.conditions, *real.shown) if real else ()
            options: dict[str, Any] = {name: batch[name] for name in given if name in batch}
            options |= {k: v[first:last] if isinstance(v, list) else v for k, v in self.options.items()}
            images = self.model.sample(last - first, seed=self.seed, start=first, precision=self.precision, **options)
            yield to_bytes(images, self.model.levels)

    def _control(self, images: torch.Tensor, first: int) -> torch.Tensor:
        """What stands in place of samples, of real pictures or clips from number `first` on."""
        if self.control == "reconstructed":
            return self.model.reconstruct(images.to(self.model.device)).cpu()
        return shuffled(images, self.seed, first) if self.control == "shuffled" else images

    def _is_given(self, real: Reals) -> bool:
        return bool(self.control or real.conditions or real.shown)

    def _steps(self, network: Network, ours: Processes, meter: Meter) -> torch.Tensor:
        """Lengths (N,) of this process's steps; all blocks are whole, so there may be more than `count` of them."""
        model: Any = self.model
        lengths = [torch.empty(0, dtype=torch.float64, device="cpu")]
        for block in ours.share(math.ceil(self.count / BLOCK)):
            with torch.no_grad(), computing("fp32", model.device):
                pair = model.path_images(BLOCK, seed=derive_seed(self.seed, "path", block), epsilon=EPSILON)
            first, second = (network.of_paths(images) for images in pair)
            lengths.append(distances.step_lengths(first, second).cpu())
            meter.add(BLOCK)
        return torch.cat(lengths)

    def _compare(self, name: str, real: torch.Tensor, fake: torch.Tensor) -> dict[str, Any]:
        """The value of a metric, and what else its receipt says of how it was found."""
        if name == CONTENT:
            return {"value": float(fake.mean()), "of_real": rounded(float(real.mean()))}
        if name in ("fid", "fd", "fvd"):
            return {"value": distances.frechet(real, fake)}
        if name in ("kid", "kd", "kvd"):
            mean, deviation = distances.kernel(real, fake, seed=self.seed)
            return {"value": mean, "deviation": rounded(deviation), "subsets": f"{SUBSETS} of {SUBSET_SIZE}"}
        if (device := self.model.device).type == "cuda":
            real, fake = real.to(device), fake.to(device)
        points, support = (fake, real) if name == "precision" else (real, fake)
        return {"value": distances.coverage(points, support), "neighbours": NEIGHBOURS}

    def _receipt(
        self,
        name: str,
        network: Any,
        figure: dict[str, Any],
        source: Source,
        real: Reals | None = None,
        count: int | None = None,
    ) -> dict[str, Any]:
        """One figure with all that it depends on."""
        value = figure.pop("value")
        if not math.isfinite(value):
            raise DataError(f"{name} of {self.model.spec.name} is {value}; the weights are broken")
        _, height, width = self.model.image_shape
        resized = f"{resizer}, then " if (resizer := source.resizer(width, height)) else ""
        options = ", ".join(f"{option}={in_words(value)}" for option, value in self.options.items())
        return {
            "name": name,
            "value": rounded(value),
            "data": source.name,
            **({"revision": source.revision, "split": real.split} if real else {"split": NO_SPLIT}),
            "count": count or self.count,
            **({"real": len(real)} if real else {}),
            "features": network.name,
            **({"features_sha256": sha256} if (sha256 := network.sha256.partition(" ")[0]) else {}),
            **self._of_clips(network, real),
            "resizer": f"{resized if real else ''}the network's own",
            "seed": self.seed,
            **({"given": given} if (given := self._given(real)) else {}),
            **({"options": options} if options else {}),
            **({"precision": self.precision} if self.precision != "fp32" else {}),
            **as_read(self.reading),
            **({"samples": f"real, {self.control}" if self.control != "real" else "real"} if self.control else {}),
            **figure,
        }

    def _given(self, real: Reals | None) -> str:
        """What samples are drawn from besides pictures and clips."""
        return ", ".join((*real.others, *real.shown)) if real and not self.control else ""

    def _of_clips(self, network: Any, real: Reals | None) -> dict[str, Any]:
        """What a receipt of clips says of frames."""
        if not self.model.spec.is_video:
            return {}
        seen = "clips" if getattr(network, "takes_clips", True) else "single frames"
        # Of a window; the model may draw clips of any length.
        frames = real.frames if real else self.model.batch_shapes["video"][0]
        stride = self.reading.get("stride", 1)
        return {"of": seen, "frames": frames, "stride": stride, "window": "one a clip, by its number"}


@dataclass
class Meter:
    """Tells how much of a process's work is done."""

    total: float
    progress: Callable[[float], None] | None
    done: int = field(default=0, init=False)

    def add(self, count: int) -> None:
        self.done += count
        if self.progress:
            self.progress(min(1.0, self.done / self.total))


def ones(name: str) -> list[str]:
    """The metrics that have this other name with any network but their own."""
    return [one for one, other in OTHER.items() if other == name]


def check_name(metric: str, network: str) -> None:
    """Raises OptionError unless the metric by this network's features has that name."""
    if metric in OTHER and network != NETWORK[metric]:
        raise OptionError(
            f"{metric} is a figure of {NETWORK[metric]}; with features of '{network}' ask for {OTHER[metric]}"
        )
    for one in ones(metric):
        if network == NETWORK[one]:
            raise OptionError(f"{metric} with features of {network} is called {one}; ask for that")


def rounded(value: float) -> float:
    """Six significant digits."""
    return float(f"{value:.6g}")


def in_words(value: Any) -> str:
    """An option's value as the command line takes it; of a list each value once."""
    return ",".join(dict.fromkeys(map(str, value))) if isinstance(value, list) else str(value)


def _gathered(
    batches: Iterable[torch.Tensor], networks: Sequence[Network], ours: Processes, meter: Meter
) -> dict[str, torch.Tensor]:
    """Features (N, F) of all processes' pictures, by sha256 of the network; in the first process alone."""
    rows: dict[str, list[torch.Tensor]] = {network.sha256: [] for network in networks}
    for images in batches:
        for network in networks:
            rows[network.sha256].append(network.of_pictures(images))
        meter.add(len(images))
    gathered = {
        sha256: ours.gather(torch.cat(parts or [torch.empty(0, 0, device="cpu")])) for sha256, parts in rows.items()
    }
    return {sha256: found for sha256, found in gathered.items() if found is not None}
