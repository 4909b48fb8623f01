"""Feature networks, by which pictures are compared: two that everybody measures with, or any TorchScript file.

TorchScript is code: it runs when it is loaded. The known files are loaded only with the bytes that are pinned here.

Shapes: N pictures or clips, C channels, T frames, H, W height and width, F features.
"""

from __future__ import annotations

import hashlib
import io
import socket
import urllib.error
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from zoo.errors import HubError, OptionError, one_line, unknown
from zoo.plugins import checkout
from zoo.precision import tf32

SECONDS = 20.0  # without a byte, and a download has failed
PATH_SIDE = 256  # of pictures on a path, if they are larger
I3D = "i3d_torchscript.pt"  # the network of FVD, by the name that StyleGAN-V gave its file
I3D_CALL = {"rescale": True, "resize": True, "return_features": True}
MEAN_COLOUR = "mean colour"
ADDRESS = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics"


@dataclass(frozen=True)
class Known:
    """A TorchScript file at a fixed address.

    Attributes:
        url: of the file.
        sha256: of its bytes.
        of_pictures: arguments of its call for features whose distribution is compared.
        of_paths: arguments for features whose squared difference is a perceptual distance.
    """

    url: str
    sha256: str
    of_pictures: Mapping[str, Any]
    of_paths: Mapping[str, Any]


# The Inception of Szegedy et al. as FID has it (inception-2015-12-05), and VGG-16 with the weights of LPIPS (Zhang et
# al. 2018), both as NVIDIA publishes them; fetched from there by whoever measures, never part of the zoo. Others' code
# checks the same digests: k-diffusion that of Inception, Carver that of VGG-16.
NETWORKS = {
    "inception": Known(
        f"{ADDRESS}/inception-2015-12-05.pt",
        "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
        of_pictures={"return_features": True},
        of_paths={"return_features": True},
    ),
    "vgg16": Known(
        f"{ADDRESS}/vgg16.pt",
        "b437eb095feaeb0b83eb3fa11200ebca4548ee39a07fb944a417ddc516cc07c3",
        of_pictures={"return_features": True},
        of_paths={"resize_images": False, "return_lpips": True},
    ),
}


@dataclass(frozen=True)
class Network:
    """A feature network on a device.

    Attributes:
        name: of a known network, or of the file.
        sha256: of the file.
        device: where it runs.
        takes_clips: whether it sees clips, and not single pictures: FVD's network, and files that say so by a true
            attribute `takes_clips`.
    """

    name: str
    sha256: str
    device: torch.device
    takes_clips: bool = field(default=False, kw_only=True)
    _module: Any = field(repr=False)
    _of_pictures: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _of_paths: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def of_pictures(self, images: torch.Tensor) -> torch.Tensor:
        """Features (N, F), float32, on the CPU, of pictures (N, C, H, W), uint8, C of 1 or 3.

        Of clips (N, T, C, H, W) a network of clips gives features of each, a network of pictures those of all frames,
        (N T, F).

        Raises:
            OptionError: a network that fails, or whose answer is not (N, F) or not finite; clips for pictures.
        """
        if images.ndim == 5:
            images = images.transpose(1, 2) if self.takes_clips else images.flatten(0, 1)
        elif self.takes_clips:
            raise OptionError(f"feature network '{self.name}' sees clips, not pictures")
        return self._call(images, self._of_pictures).cpu()

    def of_paths(self, images: torch.Tensor) -> torch.Tensor:
        """As `of_pictures`, on the device, of float pictures in [-1, 1]; large ones averaged to 256 pixels first."""
        images = (images.float() + 1) * 127.5  # not rounded: steps on a path are finer than a byte
        if (factor := images.shape[2] // PATH_SIDE) > 1:
            images = F.avg_pool2d(images, factor)
        return self._call(images, self._of_paths)

    def _call(self, images: torch.Tensor, arguments: Mapping[str, Any]) -> torch.Tensor:
        images = images.to(self.device).expand(-1, 3, *images.shape[2:]).contiguous()
        try:
            with torch.no_grad(), _float32(self.device):
                found = self._module(images, **arguments)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError) as error:
            *_, height, width = images.shape
            of = f"pictures of {width}x{height}" if images.ndim == 4 else f"clips of {width}x{height}"
            reason = one_line(str(error).strip().rpartition("\n")[2], 160)
            raise OptionError(f"feature network '{self.name}' fails on {of}: {reason}") from error
        if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != len(images) or not found.shape[1]:
            shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise OptionError(f"feature network '{self.name}' must give (N, F) with N={len(images)}, not {shape}")
        if not (found.is_floating_point() and bool(found.isfinite().all())):
            raise OptionError(f"feature network '{self.name}' gives {found.dtype} that are no finite numbers")
        return found.float()


@contextmanager
def _float32(device: torch.device) -> Iterator[None]:
    """Float32 as on a CPU while the block runs, whatever the default dtype, TF32 and autocast outside say."""
    dtype = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float32)
        with tf32(False), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_default_dtype(dtype)


def load(source: str, device: torch.device) -> Network:
    """A feature network; a known one in any file is recognised by its bytes.

    Args:
        source: a name out of `NETWORKS`, fetched if need be, or a TorchScript file that takes (N, 3, H, W) of 0 to 255,
            uint8 of pictures and float32 of paths, and gives (N, F); the name of one in `benchmarks/features` will do.
        device: where it is to run.

    Raises:
        UnknownNameError: neither.
        OptionError: a file that is no TorchScript.
        HubError: a known network that is not to be had, or whose bytes are wrong.
    """
    if source in NETWORKS:
        content = fetch(source)
    else:
        root = checkout()
        bundled = {file.name: file for file in (root / "benchmarks" / "features").glob("*.pt")} if root else {}
        path = Path(source).expanduser()
        if not path.is_file():
            path = bundled.get(source, path)
        if not path.is_file():
            raise unknown("feature network", source, (*NETWORKS, *bundled), "(a TorchScript file will do too)")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise OptionError(f"can't read '{source}': {error.strerror or error}") from None
    digest = hashlib.sha256(content).hexdigest()
    known = next((name for name, known in NETWORKS.items() if known.sha256 == digest), None)
    try:
        with warnings.catch_warnings(), _float32(device):
            warnings.simplefilter("ignore", DeprecationWarning)  # there is nothing else that reads these files
            module = torch.jit.load(io.BytesIO(content), map_location=device)  # type: ignore[no-untyped-call]
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:
        raise OptionError(f"'{source}' is no TorchScript file: {one_line(error, 120)}") from error
    if known is None:
        file = Path(source).name
        call = I3D_CALL if file == I3D else {}
        takes_clips = file == I3D or bool(getattr(module, "takes_clips", False))
        name = f"./{file}" if file in NETWORKS else file
        return Network(name, digest, device, module.eval(), call, takes_clips=takes_clips)
    return Network(known, digest, device, module.eval(), NETWORKS[known].of_pictures, NETWORKS[known].of_paths)


def mean_colour(device: torch.device) -> Network:
    """The mean of a picture's pixels, 0 to 1, as features (N, 3)."""
    return Network(MEAN_COLOUR, "", device, lambda images: images.float().mean((2, 3)) / 255)


@dataclass(frozen=True)
class Content:
    """How far the frames of a clip are apart, as a network of pictures sees them (MoCoGAN, section 4.2).

    Attributes:
        network: of pictures.
    """

    network: Network

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def sha256(self) -> str:
        return f"{self.network.sha256} apart"

    def of_pictures(self, clips: torch.Tensor) -> torch.Tensor:
        """Clips (N, T, C, H, W) to (N, 1), the mean distance of the features of two frames."""
        features = self.network.of_pictures(clips)  # NT F
        each = features.view(*clips.shape[:2], -1).unbind()
        return torch.stack([torch.pdist(frames).mean() for frames in each]).unsqueeze(1)


# Downloads


def cached(name: str) -> Path:
    """Where a known network lies once it is fetched."""
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "pixelzoo" / "features" / NETWORKS[name].url.rpartition("/")[2]


def fetch(name: str) -> bytes:
    """The bytes of a known network, from the cache or its address; raises HubError if they are not those pinned."""
    from filelock import FileLock
    from huggingface_hub import constants

    known, path = NETWORKS[name], cached(name)
    mend = f"put a copy at '{path}'"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{path.name}.lock")):
            there = path.is_file()
            if there and (content := path.read_bytes()) and hashlib.sha256(content).hexdigest() == known.sha256:
                return content
            if constants.HF_HUB_OFFLINE:
                how = "damaged" if there else "not"
                raise HubError(
                    f"feature network '{name}' is {how} in the cache, and offline mode is on; unset HF_HUB_OFFLINE to "
                    f"download it, or {mend}"
                )
            for part in path.parent.glob(f"{path.name}.*.partial"):  # of a download that was killed
                part.unlink()
            _download(name, known, path, mend)
            return path.read_bytes()
    except OSError as error:
        raise HubError(f"can't use the cache '{path.parent}': {error.strerror or error}; change HF_HOME") from error


def _download(name: str, known: Known, path: Path, mend: str) -> None:
    """The file, whole and verified, or a HubError and no file."""
    failed = f"can't download feature network '{name}'"
    patience = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(SECONDS)
        torch.hub.download_url_to_file(known.url, str(path), hash_prefix=known.sha256, progress=False)
    except urllib.error.HTTPError as error:
        raise HubError(f"{failed}: {known.url} answers {error.code}; try again later, or {mend}") from error
    except (urllib.error.URLError, ConnectionError, TimeoutError, HTTPException) as error:
        reason = one_line(getattr(error, "reason", None) or error, 120)
        raise HubError(f"{failed}: can't reach {known.url} ({reason}); check the network, or {mend}") from error
    except RuntimeError as error:  # the sha256
        raise HubError(
            f"{failed}: {known.url} was cut, or is another file: its sha256 is not the pinned {known.sha256[:12]}..., "
            f"so it is not used; {mend}, or try again later"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
