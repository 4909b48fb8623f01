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

from zoo.data.examples import Examples
from zoo.data.source import Source, find
from zoo.data.tables import load
from zoo.errors import DataError, OptionError
from zoo.media import to_bytes
from zoo.metrics import distances, processes
from zoo.metrics.choice import choose, named
from zoo.metrics.distances import EPSILON, NEIGHBOURS, SUBSET_SIZE, SUBSETS
from zoo.metrics.features import NETWORKS, Network
from zoo.metrics.features import load as load_network
from zoo.metrics.processes import Processes
from zoo.model import Model
from zoo.seeds import derive_seed

NETWORK = {"fid": "inception", "kid": "inception", "precision": "vgg16", "recall": "vgg16", "ppl": "vgg16"}
OTHER = {"fid": "fd", "kid": "kd", "ppl": "pl"}  # what it is called with any other network
ONE = {other: name for name, other in OTHER.items()}
PATHS = ("ppl", "pl")
OF_SAMPLES = (*NETWORK, *ONE)
LEAST = {"kid": SUBSET_SIZE, "kd": SUBSET_SIZE, "precision": NEIGHBOURS + 1, "recall": NEIGHBOURS + 1}
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

    def measure(self, names: Sequence[str], progress: Callable[[float], None] | None = None) -> dict[str, Any]:
        """The receipts of metrics by name; none but in the first of several processes."""
        self._check(names)
        networks = self._networks(names)
        compared = [name for name in names if name not in PATHS]
        walked = [name for name in names if name in PATHS]
        real = Reals.load(self.data, self.split, self.model, self.limit, self.seed, self.resize) if compared else None
        source = real.source if real else find(self.data, resize=self.resize)
        for name in compared:
            if real and len(real) < (least := LEAST.get(name, 2)):
                raise OptionError(f"{name} needs at least {least} pictures, and {self.data} gives {len(real)}")
        receipts: dict[str, Any] = {}
        with processes.joined() as ours:
            work = bool(walked) * self.count + (self.count + len(real) if real else 0)
            meter = Meter(work / ours.count, progress)
            if real:
                used = list({networks[name].sha256: networks[name] for name in compared}.values())
                fake_features = _gathered(self._samples(ours.share(self.count)), used, ours, meter)
                real_features = _gathered(real.batches(ours.share(len(real)), self.batch_size), used, ours, meter)
                for name in compared if ours.is_main else ():
                    sha256 = networks[name].sha256
                    figure = self._compare(name, real_features[sha256], fake_features[sha256])
                    receipts[name] = self._receipt(name, networks[name], figure, source, real)
            for name in walked:
                lengths = ours.gather(self._steps(networks[name], ours, meter))
                if lengths is not None:
                    figure = {"value": distances.path_length(lengths[: self.count]), "epsilon": EPSILON}
                    receipts[name] = self._receipt(name, networks[name], figure, source)
        return receipts

    def _check(self, names: Sequence[str]) -> None:
        """What can be known before anything is loaded or drawn; raises OptionError."""
        spec = self.model.spec
        if spec.is_video or self.model.levels > 256 or len(spec.data_shape) != 3:
            raise OptionError(f"{' and '.join(names)} are of pictures, and those of {spec.name} are none")
        for name, value, least in (
            ("count", self.count, 1),
            ("seed", self.seed, 0),
            ("batch_size", self.batch_size, 1),
        ):
            if value < least:
                raise OptionError(f"{name} takes an integer of at least {least}, not {value}")
        for name in names:
            if self.count < (least := LEAST.get(name, 2)):
                raise OptionError(f"{name} needs at least {least} samples, not {self.count}; ask for more with --count")
            if name in ("kid", "kd"):
                distances.check_installed(name)
            if name in PATHS and not callable(getattr(self.model, "path_images", None)):
                raise OptionError(f"{name} needs paths between samples, and {spec.name} has none (no 'path_images')")
            if name in PATHS and self.options:
                raise OptionError(f"{name} takes no sampling options; measure it apart from the other metrics")
        for option, values in self.options.items():
            if isinstance(values, list) and len(values) != self.count:
                raise OptionError(f"option '{option}' needs one value, or one for each of the {self.count} samples")

    def _networks(self, names: Sequence[str]) -> dict[str, Network]:
        """The network of each metric, which must be one that the metric's name stands for."""
        device = self.model.device
        loaded: dict[str, Network] = {}
        found = {}
        sources = {name: self.features or NETWORK.get(name) for name in names}
        for name, source in sources.items():
            if source is None:
                own = NETWORK[ONE[name]]
                raise OptionError(f"{name} needs --features FILE; with {own} it is called {ONE[name]}")
            if source in NETWORKS:
                check_name(name, source)
        for name, source in sources.items():
            assert source is not None
            if source not in loaded:
                loaded[source] = load_network(source, device)
            check_name(name, loaded[source].name)
            found[name] = loaded[source]
        return found

    def _samples(self, rows: range) -> Iterator[torch.Tensor]:
        """Samples of the given indices, uint8, (N, C, H, W), batch by batch."""
        for first in range(rows.start, rows.stop, self.batch_size):
            last = min(first + self.batch_size, rows.stop)
            options: dict[str, Any] = {k: v[first:last] if isinstance(v, list) else v for k, v in self.options.items()}
            images = self.model.sample(last - first, seed=self.seed, start=first, **options)
            yield to_bytes(images, self.model.levels)

    def _steps(self, network: Network, ours: Processes, meter: Meter) -> torch.Tensor:
        """Lengths (N,) of this process's steps; all blocks are whole, so there may be more than `count` of them."""
        model: Any = self.model
        lengths = [torch.empty(0, dtype=torch.float64, device="cpu")]
        for block in ours.share(math.ceil(self.count / BLOCK)):
            with torch.no_grad():
                pair = model.path_images(BLOCK, seed=derive_seed(self.seed, "path", block), epsilon=EPSILON)
            first, second = (network.of_paths(images) for images in pair)
            lengths.append(distances.step_lengths(first, second).cpu())
            meter.add(BLOCK)
        return torch.cat(lengths)

    def _compare(self, name: str, real: torch.Tensor, fake: torch.Tensor) -> dict[str, Any]:
        """The value of a metric, and what else its receipt says of how it was found."""
        if name in ("fid", "fd"):
            return {"value": distances.frechet(real, fake)}
        if name in ("kid", "kd"):
            mean, deviation = distances.kernel(real, fake, seed=self.seed)
            return {"value": mean, "deviation": rounded(deviation), "subsets": f"{SUBSETS} of {SUBSET_SIZE}"}
        if (device := self.model.device).type == "cuda":
            real, fake = real.to(device), fake.to(device)
        points, support = (fake, real) if name == "precision" else (real, fake)
        return {"value": distances.coverage(points, support), "neighbours": NEIGHBOURS}

    def _receipt(
        self, name: str, network: Network, figure: dict[str, Any], source: Source, real: Reals | None = None
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
            "count": self.count,
            **({"real": len(real)} if real else {}),
            "features": network.name,
            "features_sha256": network.sha256,
            "resizer": f"{resized if real else ''}the network's own",
            "seed": self.seed,
            **({"options": options} if options else {}),
            **figure,
        }


@dataclass(frozen=True)
class Reals:
    """Real pictures: those of one split, or of several joined by "+", or a choice of `limit` of them."""

    parts: tuple[Examples, ...]
    split: str
    chosen: Sequence[int]

    @classmethod
    def load(cls, data: str, split: str, model: Model, limit: int | None, seed: int, resize: bool = False) -> Reals:
        """Errors as of `zoo.data.load`."""
        parts = tuple(load(data, part.strip(), model.image_shape, resize=resize) for part in split.split("+"))
        whole = sum(map(len, parts))
        chosen = choose(whole, limit, seed)
        return cls(parts, named(split, len(chosen), whole, seed), chosen)

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def source(self) -> Source:
        return self.parts[0].source

    def batches(self, rows: range, size: int) -> Iterator[torch.Tensor]:
        """The chosen pictures, by their place among them, uint8, (N, C, H, W), at most `size` at once."""
        before = 0
        for part in self.parts:
            numbers = [i - before for i in self.chosen[rows.start : rows.stop] if before <= i < before + len(part)]
            for first in range(0, len(numbers), size):
                yield part.batch(numbers[first : first + size])["image"]
            before += len(part)


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


def check_name(metric: str, network: str) -> None:
    """Raises OptionError unless the metric by this network's features has that name."""
    if metric in OTHER and network != NETWORK[metric]:
        raise OptionError(
            f"{metric} is a figure of {NETWORK[metric]}; with features of '{network}' ask for {OTHER[metric]}"
        )
    if metric in ONE and network == NETWORK[ONE[metric]]:
        raise OptionError(f"{metric} with features of {network} is called {ONE[metric]}; ask for that")


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
