"""SOAP: the paper's algorithm written out for one matrix, its symmetries, and what it does to odd weights."""

import copy

import pytest
import torch

from zoo.nn.soap import SOAP


def stepped(optimizer: torch.optim.Optimizer, weights: list[torch.nn.Parameter], gradients) -> None:
    """A step for each item of `gradients`, a tuple with the gradient of every weight."""
    for each in gradients:
        for weight, gradient in zip(weights, each, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()


def drawn(count: int, *shapes: tuple[int, ...], seed: int = 0) -> list[tuple[torch.Tensor, ...]]:
    """Gradients of `count` steps, whose entries are correlated and of unlike sizes."""
    generator = torch.Generator().manual_seed(seed)

    def one(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator).cumsum(-1) + 0.3

    return [tuple(one(shape) for shape in shapes) for _ in range(count)]


def parameter(*shape: int, seed: int = 7) -> torch.nn.Parameter:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.Parameter(torch.randn(shape, dtype=torch.float64, generator=generator))


def test_it_is_algorithm_3_of_the_paper() -> None:
    rate, first, second, eps, every = 0.01, 0.9, 0.95, 1e-8, 4
    gradients = drawn(14, (5, 5))
    expected = parameter(5, 5).detach().clone()
    left, right = torch.zeros(5, 5, dtype=torch.float64), torch.zeros(5, 5, dtype=torch.float64)
    mean, square = torch.zeros(5, 5, dtype=torch.float64), torch.zeros(5, 5, dtype=torch.float64)
    for t, (g,) in enumerate(gradients):
        if t > 0:
            mean = first * mean + (1 - first) * g
            turned = left_basis.T @ g @ right_basis  # noqa: F821 (of the first step)
            square = second * square + (1 - second) * turned**2
            unbiased = (left_basis.T @ mean @ right_basis) / (1 - first**t)  # noqa: F821
            normed = unbiased / ((square / (1 - second**t)).sqrt() + eps)
            expected -= rate * left_basis @ normed @ right_basis.T  # noqa: F821
        left = second * left + (1 - second) * g @ g.T
        right = second * right + (1 - second) * g.T @ g
        if t == 0:
            left_basis, right_basis = torch.linalg.eigh(left)[1].flip(1), torch.linalg.eigh(right)[1].flip(1)
        elif t % every == 0:
            order = torch.diag(left_basis.T @ left @ left_basis).argsort(descending=True)
            square, left_basis = square[order], torch.linalg.qr(left @ left_basis[:, order])[0]
            order = torch.diag(right_basis.T @ right @ right_basis).argsort(descending=True)
            square, right_basis = square[:, order], torch.linalg.qr(right @ right_basis[:, order])[0]
    weight = parameter(5, 5)
    stepped(SOAP([weight], lr=rate, betas=(first, second), eps=eps, every=every), [weight], gradients)
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-9, atol=1e-11)


def test_axes_do_not_matter() -> None:
    """In turned axes it takes the turned steps; Adam, which scales each entry, does not."""
    rows = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    columns = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))[0]
    gradients = drawn(12, (4, 4))

    def path(make, turn: bool) -> torch.Tensor:
        weight = torch.nn.Parameter(torch.zeros(4, 4, dtype=torch.float64))
        stepped(make([weight]), [weight], [(rows @ g @ columns if turn else g,) for (g,) in gradients])
        return weight.detach()

    def soap(weights):
        return SOAP(weights, lr=0.01, every=3)

    def adam(weights):
        return torch.optim.Adam(weights, lr=0.01)

    torch.testing.assert_close(path(soap, True), rows @ path(soap, False) @ columns, rtol=1e-6, atol=1e-9)
    assert not torch.allclose(path(adam, True), rows @ path(adam, False) @ columns, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("shape", [(6,), (1, 6, 1, 1), (), (3, 5)])
def test_sides_without_a_covariance_are_adams(shape: tuple[int, ...], decay: float) -> None:
    """Biases, sides of length 1, and (3, 5) where at most 2 are turned."""
    gradients = [(g.reshape(shape),) for (g,) in drawn(9, shape or (1,))]
    ours, theirs = parameter(*shape), parameter(*shape)
    largest = 2 if shape == (3, 5) else 5
    how = {"lr": 0.01, "betas": (0.9, 0.95), "weight_decay": decay}
    stepped(SOAP([ours], largest=largest, **how), [ours], gradients)
    stepped(torch.optim.AdamW([theirs], **how), [theirs], gradients)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_weights_decay_beside_their_steps() -> None:
    weight = parameter(4, 3)
    stepped(SOAP([weight], lr=0.1, weight_decay=0.5), [weight], [(torch.zeros(4, 3, dtype=torch.float64),)] * 4)
    torch.testing.assert_close(weight.detach(), parameter(4, 3).detach() * 0.95**3)  # the first step only measures


def test_a_convolution_is_a_matrix_of_its_output_features() -> None:
    gradients = drawn(25, (4, 12))
    matrix = parameter(4, 12)
    filters = torch.nn.Parameter(matrix.detach().clone().view(4, 3, 2, 2))
    stepped(SOAP([matrix]), [matrix], gradients)
    stepped(SOAP([filters]), [filters], [(g.view(4, 3, 2, 2),) for (g,) in gradients])
    assert torch.equal(filters.view(4, 12), matrix)


def test_weights_of_one_shape_do_not_know_of_each_other() -> None:
    shapes = ((4, 3), (5,), (4, 3), (5,), (3, 4))
    gradients = drawn(23, *shapes)
    together = [parameter(*shape, seed=i) for i, shape in enumerate(shapes)]
    stepped(SOAP(together), together, gradients)
    for i, shape in enumerate(shapes):
        alone = parameter(*shape, seed=i)
        stepped(SOAP([alone]), [alone], [(each[i],) for each in gradients])
        torch.testing.assert_close(together[i], alone, rtol=1e-9, atol=1e-11)


def test_no_gradient_is_one_of_zeros() -> None:
    gradients = drawn(12, (4, 3), (4, 3))
    weights, others = [parameter(4, 3), parameter(4, 3)], [parameter(4, 3), parameter(4, 3)]
    optimizer, other = SOAP(weights), SOAP(others)
    for i, (first, second) in enumerate(gradients):
        missing = i % 3 == 1
        weights[0].grad, weights[1].grad = first, None if missing else second
        others[0].grad, others[1].grad = first, torch.zeros_like(second) if missing else second
        optimizer.step()
        other.step()
    assert all(map(torch.equal, weights, others))


def test_saved_and_loaded_it_goes_on_to_the_bit() -> None:
    gradients = drawn(31, (4, 3), (5,), (4, 3))
    weights = [parameter(4, 3), parameter(5), parameter(4, 3, seed=8)]
    optimizer = SOAP(weights)
    stepped(optimizer, weights, gradients[:13])
    copies = [torch.nn.Parameter(weight.detach().clone()) for weight in weights]
    resumed = SOAP(copies)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    stepped(optimizer, weights, gradients[13:])
    stepped(resumed, copies, gradients[13:])
    assert all(map(torch.equal, weights, copies))


@pytest.mark.parametrize("when", [0, 7, 10])
def test_a_gradient_that_is_not_finite_shows_in_its_weight_alone(when: int) -> None:
    weights = [parameter(4, 3), parameter(4, 3)]
    gradients = drawn(22, (4, 3), (4, 3))
    gradients[when][0][1, 2] = float("nan")
    stepped(SOAP(weights), weights, gradients)
    assert weights[0].isnan().any()
    assert weights[1].isfinite().all()


@pytest.mark.parametrize("wrong", [{"betas": (0.9, 1.0)}, {"betas": (-0.1, 0.9)}, {"every": 0}, {"weight_decay": -0.1}])
def test_wrong_options_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"betas|every|weight_decay"):
        SOAP([parameter(2, 2)], **wrong)


def test_a_closure_gives_the_loss() -> None:
    weight = parameter(3, 3)
    optimizer = SOAP([weight])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    first = optimizer.step(closure)
    optimizer.step(closure)
    assert optimizer.step(closure) < first
