"""What the zoo sees of pix2pix, vid2vid, Everybody Dance Now and Deep Video Portraits. Free of torch."""

from __future__ import annotations

from zoo import hookimpl
from zoo_translation.dance_spec import DANCE
from zoo_translation.pix2pix_spec import PIX2PIX
from zoo_translation.portraits_spec import PORTRAITS
from zoo_translation.vid2vid_spec import VID2VID


@hookimpl
def zoo_models():
    return [PIX2PIX, VID2VID, DANCE, PORTRAITS]


@hookimpl
def zoo_build(spec, config):
    if spec.name == DANCE.name:
        from zoo_translation.everybody_dance_now import EverybodyDanceNow

        return EverybodyDanceNow(**config)
    if spec.name == PORTRAITS.name:
        from zoo_translation.deep_video_portraits import DeepVideoPortraits

        return DeepVideoPortraits(**config)
    if spec.name == VID2VID.name:
        from zoo_translation.vid2vid import Vid2Vid

        return Vid2Vid(**config)
    from zoo_translation.pix2pix import Pix2Pix

    return Pix2Pix(**config)


@hookimpl
def zoo_train(spec):
    if spec.name == DANCE.name:
        from zoo_translation.dance_train import DanceTrainer

        return DanceTrainer
    if spec.name == PORTRAITS.name:
        from zoo_translation.portraits_train import PortraitsTrainer

        return PortraitsTrainer
    if spec.name == VID2VID.name:
        from zoo_translation.vid2vid_train import Vid2VidTrainer

        return Vid2VidTrainer
    from zoo_translation.pix2pix_train import Pix2PixTrainer

    return Pix2PixTrainer


@hookimpl
def zoo_sample(spec, model, request):
    if spec.name == PIX2PIX.name:
        from zoo_translation import pix2pix

        return pix2pix.sample(model, request)
    from zoo_translation import sequence

    return sequence.draw(model, request)


@hookimpl
def zoo_import_weights(spec, source):
    from zoo.errors import OptionError
    from zoo_translation import pix2pix_import

    if spec.name != PIX2PIX.name:
        raise OptionError(f"{spec.name} can't import weights of other programs; pix2pix can")
    return pix2pix_import.read(source)
