"""The base class of every model in the zoo: an `nn.Module` that knows its spec and config, and can sample."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import nn

from zoo import sampling
from zoo.controls import ClipEditor, Controls
from zoo.errors import OptionError, PluginError
from zoo.media import html
from zoo.request import SampleRequest
from zoo.spec import ModelSpec, Option


class Model(nn.Module):
    """A generative model. Plugins subclass it; `zoo.build` and `zoo.load` return it.

    Attributes:
        spec: what the plugin declared about this model.
        config: the constructor's keyword arguments, completed with defaults; `zoo.build(spec.name, **config)` makes
            the same architecture.
        image_shape: (C, H, W) of one picture or frame; the constructor sets it.
        levels: values of a sub-pixel; samples and `log_prob` use 0 to levels - 1.
        frames: of one clip, if it draws clips; `fps` frames a second.
        label_classes: how many classes a label may be; None where it takes no labels, or can't say.
        class_names: of its classes in order, if they have names; `config.json` holds them.
        input_classes: how many classes the label maps of an input have, by the name of its option and key of a batch;
            inputs that are pictures are not in it.
        least_frames: that a clip must have for others to be drawn from it.
        condition_names: keys of a batch, besides "image" or "video", that training and `log_prob` need.
        shown: options that show a part of a clip itself, such as its first frames, and are no keys of a batch.
        channels_last: whether its convolutions are faster in that layout on a CPU too, when it is trained.
        has_noise: whether a sample depends on its seed; without noise it follows from its options alone.
        weights_sha256: of the file of weights it was loaded from, or None.
        sample_batch_size: how many samples one call of the sampling hook makes, unless the caller says otherwise.
    """

    sample_batch_size: ClassVar[int] = 64
    channels_last: ClassVar[bool] = True
    has_noise: ClassVar[bool] = True
    image_shape: tuple[int, int, int]
    levels: int = 256
    frames: int = 0
    fps: float = 10.0
    label_classes: int | None = None
    class_names: tuple[str, ...] = ()
    input_classes: Mapping[str, int] = MappingProxyType({})
    least_frames: int = 1
    condition_names: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    weights_sha256: str | None = None
    spec: ModelSpec
    config: dict[str, Any]

    def attach(self, spec: ModelSpec, config: Mapping[str, Any], draw: Callable[[Model, SampleRequest], Any]) -> None:
        """Called once by the core after `zoo_build`; `draw` calls `zoo_sample` of the plugin that owns the model."""
        self.spec = spec
        self.config = dict(config)
        self._draw = draw

    def draw_batch(self, request: SampleRequest) -> Any:
        """One batch of samples, as the plugin gives it; `sample` is what users call."""
        return self._draw(self, request)

    @property
    def batch_shapes(self) -> dict[str, tuple[int, ...]]:
        """What a batch of `step` holds, key by key, and the shape of one example of it.

        Pictures are (C, H, W), clips (T, C, H, W), labels and captions (). Data are read, checked and made up by this.
        """
        key, shape = ("video", (self.frames, *self.image_shape)) if self.spec.is_video else ("image", self.image_shape)
        return {key: shape, **dict.fromkeys(self.condition_names, ())}

    @property
    def optional_shapes(self) -> dict[str, tuple[int, ...]]:
        """What a batch of `step` holds besides `batch_shapes` if the data have a column of this name, or the user names
        one."""
        return {}

    def examples(self, n: int, seed: int = 0) -> dict[str, Any]:
        """Options of `sample` that show what the model does, for n samples: a caption, an edge map, a driving clip.

        The conformance kit, grids in training, golden samples and the card draw with them. Only a model that draws
        nothing without options has to have them.
        """
        return {}

    def show(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch of real clips with the options `shown`, to measure samples: what it keeps in "video" is compared."""
        return batch

    def check_captions(self, captions: Sequence[str | None]) -> None:
        """Raise OptionError for captions of the data that training could not read; only for models that read them."""

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise OptionError for options of `sample`, by name and of all samples, that this model can't draw with.

        The core has checked types, ranges and shapes as the spec gives them; this is called once, before the first of
        many batches is drawn.
        """

    def input_shape(self, option: Option) -> tuple[int | None, ...]:
        """The shape of an input for one sample, (C, H, W), or (T, C, H, W) of a clip, whose T None leaves open."""
        own = (None, *self.image_shape) if option.type == "video" else self.image_shape
        wanted = option.shape or (None,) * len(own)
        return tuple(have if want is None else want for want, have in zip(wanted, own, strict=True))

    @property
    def latent_shapes(self) -> dict[str, list[tuple[int | None, ...]]]:
        """Option that takes latents -> the shapes that those of one sample may have; None leaves a size open."""
        return {}

    def latent_of(self, request: SampleRequest) -> torch.Tensor:
        """The z (N, ...) of a request by its noise alone; of models with an option `z`, whose `draw_z` it is."""
        raise OptionError(f"{self.spec.name} has no latent z")

    def z_of(self, request: SampleRequest) -> torch.Tensor:
        """Option `z` of a request, or else `latent_of`; in either case the noise that follows is the same."""
        drawn, given = self.latent_of(request), request.options.get("z")
        return drawn if given is None else given.to(request.device)

    def draw_z(self, n: int = 1, *, seed: int = 0, start: int = 0, frames: int | None = None) -> torch.Tensor:
        """The latents that `sample` draws for the same arguments: `sample(n, seed=s, z=draw_z(n, seed=s))` is
        `sample(n, seed=s)`.

        Args:
            n, seed, start: as of `sample`.
            frames: of clips with a latent for each frame, how many; None takes the model's own number.

        Returns:
            (N, Z), or (N, T, Z) with a latent for each frame; float32, on the model's device.

        Raises:
            OptionError: a model without an option `z`.
        """
        return sampling.draw_z(self, n, seed=seed, start=start, frames=frames)

    def grown(self, weights: Model) -> dict[str, torch.Tensor]:
        """The state that training begins with from existing weights of this model, made with other settings perhaps.

        Where it lacks something that only training needs, that stays as it is; what does not fit is refused by the
        core. A model whose network may be larger than that of its weights gives one that computes the same.
        """
        return weights.state_dict()

    def released(self) -> Model:
        """A copy as it is evaluated, sampled and published: without what only training needs, if there is such."""
        return copy.deepcopy(self)

    @property
    def constant_buffers(self) -> set[str]:
        """Names of the buffers that follow from the constructor's arguments: masks and indices, never saved."""
        modules = self.named_modules()
        return {f"{name}.{b}".lstrip(".") for name, m in modules for b in m._non_persistent_buffers_set}

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def sample(
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        start: int = 0,
        frames: int | None = None,
        batch_size: int | None = None,
        precision: str = "fp32",
        progress: Callable[[float], None] | bool | None = None,
        **options: Any,
    ) -> torch.Tensor:
        """Draw samples. Sample i of seed s is the same whatever the batch size or the number of processes.

        Args:
            n: how many; None for as many as options have values (labels, latents, pictures), 1 if none has several.
            seed: together with a sample's index it determines the sample.
            start: index of the first sample; n samples from `start` continue an earlier call.
            frames: of clips, how many; None takes those of the clip or the latents that are drawn from, or the model's
                own number.
            batch_size: samples per call of the sampling hook; a matter of memory and speed alone.
            precision: "fp32", without TF32 on CUDA either; "tf32", which allows it; "bf16" or "fp16", by autocast.
            progress: True for a bar, in a terminal or a notebook; or a function that is called with the share that is
                done, from 0 to 1.
            options: the model's own options, see `zoo info`.

        Returns:
            (N, C, H, W), or (N, T, C, H, W) for video, on the CPU; uint8, or int64 for models of over 256 levels.

        Raises:
            UnknownNameError: an option that the model does not have.
            OptionError: an option of the wrong type, range or shape.
        """
        settings: dict[str, Any] = {"batch_size": batch_size, "precision": precision, "progress": progress}
        return sampling.sample(self, n, seed=seed, start=start, frames=frames, **settings, **options)

    def stages(self, n: int | None = None, **how: Any) -> torch.Tensor:
        """Pictures while they are drawn, (N, T, C, H, W), uint8, on the CPU.

        The last of T frames are what `sample` gives with the same keywords. Raises OptionError where `spec.stages` is
        false.
        """
        if not self.spec.stages:
            raise OptionError(f"{self.spec.name} does not draw in stages")
        return sampling.sample(self, n, stages=True, **how)

    def draw_stages(self, request: SampleRequest) -> torch.Tensor:
        """One batch of `stages`, (n, T, C, H, W), uint8; a plugin gives it where its spec says `stages`."""
        raise PluginError(f"the spec of '{self.spec.name}' says stages, but its model has no draw_stages")

    def stream(
        self, n: int | None = None, *, seed: int = 0, frames: int | None = None, **options: Any
    ) -> Iterator[torch.Tensor]:
        """Draw clips frame by frame, of any length, in constant memory: the frames of `sample` of the same seed.

        Args:
            n: how many clips, side by side; None as of `sample`.
            seed: as of `sample`.
            frames: how many; None goes on as long as the options give, or for ever.
            options: `start` and `precision` of `sample`, and the model's own; clips may be iterators of frames.

        Yields:
            (N, C, H, W), uint8, on the CPU.

        Raises:
            OptionError: a model of pictures; or as of `sample`.
        """
        return sampling.stream(self, n, seed=seed, frames=frames, **options)

    def editor(self, *, seed: int = 0, **options: Any) -> ClipEditor:
        """A clip that is drawn anew from the frame on whose inputs are edited; only for models that can.

        Args:
            seed: as of `sample`.
            options: those of `sample`, of one sample, without the axis of samples.

        Raises:
            OptionError: as of `sample`, or a model whose clips can't be edited.
        """
        raise OptionError(f"{self.spec.name} draws no clips that can be edited")

    @property
    def has_editor(self) -> bool:
        """Whether `editor` works."""
        return type(self).editor is not Model.editor

    @property
    def controls(self) -> Controls | None:
        """Numbers that the inputs of `editor` can be drawn from, if there are such."""
        return None

    def log_prob(self, images: torch.Tensor, **conditions: Any) -> torch.Tensor:
        """Exact log-likelihood in nats, (N,); only for models that have one."""
        raise OptionError(f"{self.spec.name} has no tractable likelihood")

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """What the encoder keeps of pictures (N, C, H, W), uint8, in the same shape; only for models that have one."""
        raise OptionError(f"{self.spec.name} has no encoder, so it reconstructs nothing")

    def _repr_html_(self) -> str:
        """What Jupyter shows of a model: paper, options and weights."""
        drawn = f"clips of {self.frames} frames" if self.spec.is_video else "pictures"
        held = f"sha256 {self.weights_sha256[:12]}..." if self.weights_sha256 else "random, or trained here"
        facts = {
            "draws": f"{drawn}, {' x '.join(map(str, self.image_shape))}, {self.levels} levels",
            "parameters": f"{sum(parameter.numel() for parameter in self.parameters()):,}",
            "device": str(self.device),
            "these weights": held,
        }
        return html.describe(self.spec, facts)

    @property
    def has_likelihood(self) -> bool:
        """Whether `log_prob` works."""
        return type(self).log_prob is not Model.log_prob

    @property
    def has_encoder(self) -> bool:
        """Whether `reconstruct` works."""
        return type(self).reconstruct is not Model.reconstruct
