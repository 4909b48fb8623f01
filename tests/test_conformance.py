"""Every registered model, ours or a third party's, passes the kit of `zoo.testing`."""

from __future__ import annotations

import pytest

import zoo
from zoo import hub, testing


@pytest.mark.parametrize("check", testing.CHECKS)
@pytest.mark.parametrize("model", [spec.name for spec in zoo.models()])
def test_conformance(model: str, check: str) -> None:
    [result] = testing.check(model, only=check)
    if result.status == "n/a":
        assert result.detail  # says why
    else:
        assert result.status == "pass", result.detail


def test_the_kit_finds_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that sees its own sub-pixel fails the check for causality."""
    from zoo_pixelcnn.pixelcnn import PixelCNN

    honest = PixelCNN.forward
    monkeypatch.setattr(PixelCNN, "forward", lambda self, x: honest(self, x) + self.scale(x)[:, None])
    [result] = testing.check("pixelcnn", only="causal")
    assert result.status == "fail"
    assert "sub-pixel 0" in result.detail


def test_the_kit_finds_an_untrained_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo_pixelcnn.pixelcnn import PixelCNN

    honest = PixelCNN.forward
    monkeypatch.setattr(PixelCNN, "forward", lambda self, x: honest(self, x).detach() + self.input.bias.sum())
    [result] = testing.check("pixelcnn", only="gradients")
    assert result.status == "fail"
    assert "never moved" in result.detail


def test_the_kit_finds_a_likelihood_that_is_not_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo_pixelcnn.pixelcnn import PixelCNN

    honest = PixelCNN.log_prob
    monkeypatch.setattr(PixelCNN, "log_prob", lambda self, images: honest(self, images) + 0.01)
    [result] = testing.check("pixelcnn", only="normalised")
    assert result.status == "fail"


def test_the_kit_finds_samples_that_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo_pixelcnn.cached import CachedPixelCNN

    honest = CachedPixelCNN.logits
    monkeypatch.setattr(
        CachedPixelCNN, "logits", lambda self, *at: honest(self, *at) + honest(self, *at).sum(0, keepdim=True)
    )
    [result] = testing.check("pixelcnn", only="samples")
    assert result.status == "fail"


def test_the_kit_finds_a_model_that_comes_back_as_another(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = hub.load

    def load(*arguments: object, **options: object) -> zoo.Model:
        model = honest(*arguments, **options)
        model.input.bias.data += 1
        return model

    monkeypatch.setattr(hub, "load", load)
    for only in ("publish_and_load", "save_and_load"):
        [result] = testing.check("pixelcnn", only=only)
        assert (result.status, result.detail) == ("fail", "AssertionError: input.bias differs")


def test_the_kit_finds_noise_where_none_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo_translation.pix2pix import Pix2Pix

    monkeypatch.setattr(Pix2Pix, "has_noise", False)
    [result] = testing.check("pix2pix", only="samples")
    assert (result.status, "it claims no noise" in result.detail) == ("fail", True)
