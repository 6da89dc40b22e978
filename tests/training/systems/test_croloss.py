"""CROLoss: its special cases, its weighting, and that it can be told for which N it trains."""

from dataclasses import replace
from itertools import product
from math import log
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.data.retrieval import RetrievalData
from training.fit import FitOptions, fit
from training.system import Wanted
from training.systems.croloss import SYSTEM, Config, CroTowers
from training.systems.croloss.loss import Criterion, Kernel, log_rank
from training.tasks.retrieval import RETRIEVAL

N, M, BETA = 400, 30, 10.0
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
ALPHAS = (0.0, 0.6, 0.8, 1.0, 1.2, 2.0)


def scores(rows: int = 8) -> tuple[Tensor, Tensor]:
    """Of a positive and its negatives, float64."""
    draw = torch.Generator().manual_seed(0)
    positive, negative = (torch.rand(size, generator=draw, dtype=torch.float64) for size in ((rows,), (rows, M)))
    return positive.requires_grad_(), negative.requires_grad_()


def both(loss: Tensor, *of: Tensor) -> list[Tensor]:
    """The loss and its gradients."""
    return [loss, *torch.autograd.grad(loss.sum(), of, retain_graph=True)]


def assert_same(one: Tensor, other: Tensor, *of: Tensor) -> None:
    for mine, theirs in zip(both(one, *of), both(other, *of), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_exp_with_alpha_1_is_the_softmax_over_the_sample() -> None:
    positive, negative = scores()
    logits = BETA * torch.cat([positive[:, None], negative], dim=1)
    softmax = nn.functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64), reduction="none")
    assert_same(Criterion("exp", 1.0, BETA, N).loss(positive, negative), softmax, positive, negative)


def test_softplus_with_alpha_0_is_bpr_and_the_hinge_with_alpha_0_the_triplet_loss() -> None:
    positive, negative = scores()
    gap = BETA * (positive[:, None] - negative)
    scale = log(N + 1) / N * (N / M)
    shift = log(N + 1) / N * (N / M - 1)  # (rho - 1): of the rank's own 1
    bpr = scale * -nn.functional.logsigmoid(gap).sum(dim=1) + shift
    triplet = scale * (0.5 - gap).clamp(min=0).sum(dim=1) + shift
    assert_same(Criterion("softplus", 0.0, BETA, N).loss(positive, negative), bpr, positive, negative)
    assert_same(Criterion("hinge", 0.0, BETA, N).loss(positive, negative), triplet, positive, negative)


@pytest.mark.parametrize(("kernel", "alpha"), [*product(KERNELS, ALPHAS)])
def test_the_loss_is_the_formula_written_out(kernel: Kernel, alpha: float) -> None:
    positive, negative = (one.detach() for one in scores(3))
    found = Criterion(kernel, alpha, BETA, N).loss(positive, negative)
    steps = {
        "exp": np.exp,
        "softplus": lambda x: np.log1p(np.exp(x)),
        "hinge": lambda x: max(x + 0.5, 0.0),
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    }
    for row in range(3):
        gaps = [BETA * float(negative[row, place] - positive[row]) for place in range(M)]
        rank = 1 + sum(steps[kernel](gap) for gap in gaps)
        power = 1 - alpha
        worth = log(rank) if alpha == 1 else log(N + 1) * ((N / M * rank) ** power - 1) / ((N + 1) ** power - 1)
        assert found[row].item() == pytest.approx(worth, rel=1e-9)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_first_place_costs_nothing_the_last_as_much_for_every_alpha_and_the_weight_is_the_slope(
    alpha: float,
) -> None:
    criterion = Criterion("sigmoid", alpha, BETA, N)
    ranks = torch.tensor([1.0, 2.0, 40.0, N + 1.0], dtype=torch.float64).requires_grad_()
    worth = criterion.worth(ranks.log(), rho=1.0)
    assert worth[0].item() == 0
    assert worth[-1].item() == pytest.approx(log(N + 1), rel=1e-12)
    for rho in (1.0, 13.3):
        (slope,) = torch.autograd.grad(criterion.worth(ranks.log(), rho).sum(), ranks)
        torch.testing.assert_close(slope, criterion.weight(ranks.log(), rho).detach(), rtol=1e-9, atol=1e-15)


def test_the_weighting_is_continuous_at_alpha_1() -> None:
    ranks = torch.linspace(1, N, 50, dtype=torch.float64).log()
    for alpha in (1 - 1e-6, 1 + 1e-6):
        near = Criterion("exp", alpha, BETA, N)
        torch.testing.assert_close(near.worth(ranks, 1.0), ranks, rtol=0, atol=1e-4)
        torch.testing.assert_close(near.weight(ranks, 1.0), (-ranks).exp(), rtol=1e-4, atol=1e-9)


def test_a_larger_alpha_weighs_the_head_of_the_list() -> None:
    ranks = torch.tensor([2.0, 200.0], dtype=torch.float64).log()
    weights = [Criterion("exp", alpha, BETA, N).weight(ranks, 1.0) for alpha in ALPHAS]
    ratios = [float(weight[0] / weight[1]) for weight in weights]
    assert ratios == sorted(ratios)
    assert ratios[0] == pytest.approx(1)


def test_a_sample_stands_for_the_whole_catalogue_where_alpha_is_not_1() -> None:
    """Each negative once for rho items: the same as all of them in the sample."""
    positive, negative = (one.detach() for one in scores())
    criterion = Criterion("sigmoid", 0.6, BETA, 4 * M)
    sampled, whole = (criterion.loss(positive, one) for one in (negative, negative.repeat(1, 4)))
    power, last = 0.4, (4 * M + 1) ** 0.4 - 1
    for row in range(len(sampled)):
        rank = float(log_rank("sigmoid", BETA * (negative - positive[:, None]))[row].exp())
        expected = log(4 * M + 1) * ((4 * rank) ** power - 1) / last
        assert sampled[row].item() == pytest.approx(expected)
        assert whole[row].item() == pytest.approx(log(4 * M + 1) * ((4 * rank - 3) ** power - 1) / last)


def test_the_sigmoid_counts_ranks_where_beta_is_large() -> None:
    positive, negative = scores()
    hard = 1 + (negative > positive[:, None]).sum(dim=1)
    found = log_rank("sigmoid", 1e4 * (negative - positive[:, None])).exp()
    torch.testing.assert_close(found, hard.double(), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("kernel", "alpha"), [*product(KERNELS, (0.6, 1.0, 1.4))])
@pytest.mark.parametrize("decoupled", [False, True])
def test_gradients_push_the_positive_up_and_negatives_down(kernel: Kernel, alpha: float, decoupled: bool) -> None:
    positive, negative = scores()
    criterion = Criterion(kernel, alpha, BETA, N, decoupled)
    loss, up, down = both(criterion.loss(positive, negative), positive, negative)
    assert (up <= 0).all()
    assert (up < 0).any()
    assert (down >= 0).all()
    torch.testing.assert_close(up, -down.sum(dim=1))
    order = torch.randperm(M, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(criterion.loss(positive + 3, negative[:, order] + 3), loss)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("decoupled", [False, True])
def test_a_negative_that_is_left_out_counts_for_nothing(kernel: Kernel, decoupled: bool) -> None:
    positive, negative = scores()
    kept = torch.ones_like(negative, dtype=torch.bool)
    kept[:, 7:] = False
    criterion = Criterion(kernel, 1.0, BETA, N, decoupled)
    loss, _, down = both(criterion.loss(positive, negative, kept), positive, negative)
    torch.testing.assert_close(loss, criterion.loss(positive, negative[:, :7]))
    assert (down[:, 7:] == 0).all()


@pytest.mark.parametrize(("kernel", "alpha"), [*product(KERNELS, (0.6, 1.0, 1.4))])
def test_the_lambda_weight_has_no_gradient_and_that_of_the_sigmoid_is_the_loss_itself(
    kernel: Kernel, alpha: float
) -> None:
    positive, negative = scores()
    found = both(Criterion(kernel, alpha, BETA, N, True).loss(positive, negative), positive, negative)[1:]
    x = BETA * (negative - positive[:, None])
    weight = Criterion(kernel, alpha, BETA, N).weight(log_rank("sigmoid", x).detach(), N / M)
    expected = both(weight * log_rank(kernel, x).exp(), positive, negative)[1:]
    plain = both(Criterion(kernel, alpha, BETA, N).loss(positive, negative), positive, negative)[1:]
    for mine, theirs, one in zip(found, expected, plain, strict=True):
        torch.testing.assert_close(mine, theirs)
        assert torch.allclose(mine, one) == (kernel == "sigmoid")


def test_far_scores_and_the_fused_logarithm_stay_finite() -> None:
    positive, negative = torch.tensor([-100.0], requires_grad=True), torch.tensor([[0.0, -50.0]])
    loss = Criterion("exp", 1.0, BETA, N).loss(positive, negative)
    (slope,) = torch.autograd.grad(loss.sum(), positive)
    assert loss.item() == pytest.approx(1000)
    assert slope.item() == pytest.approx(-BETA)


def view() -> RetrievalData:
    return RETRIEVAL.view(RETRIEVAL.planted(), Wanted(SYSTEM.reads, 20, {}))


def test_a_drawn_item_that_is_the_positive_is_no_negative() -> None:
    data = view()
    model = CroTowers(Config(negatives=4000), data.schema)
    model.prepare(data)
    batch = data.train.batch(np.arange(8))
    torch.manual_seed(3)
    loss, _ = model.loss(batch, 0.0)
    torch.manual_seed(3)
    drawn = torch.randint(1, model.num_items + 1, (4000,))
    targets = batch.targets[:, 0]
    assert (drawn == targets[:, None]).any(dim=1).all()
    users, items = model.users(batch), model.items()
    expected = []
    for user, target in zip(users, targets, strict=True):
        others = drawn[drawn != target]
        rank = 1 + nn.functional.softplus(10 * (items[others] @ user - items[target] @ user)).sum()
        expected.append(rank.log())
    torch.testing.assert_close(loss, torch.stack(expected).mean())


def test_exp_with_the_lambda_method_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    data = view()
    CroTowers(Config(kernel="exp", decoupled=True), data.schema).prepare(data)
    assert "warning: exp with decoupled trains badly" in capsys.readouterr().err
    CroTowers(Config(decoupled=True), data.schema).prepare(data)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("config", ["alpha=-0.1", "beta=0.0", "negatives=0"])
def test_a_setting_that_means_nothing_is_refused_by_name(config: str) -> None:
    name, value = config.split("=")
    with pytest.raises(ValueError, match=name):
        replace(Config(), **{name: type(getattr(Config(), name))(value)})


def test_variants_are_called_by_their_loss() -> None:
    assert SYSTEM.variant(Config()) == ""
    assert SYSTEM.variant(Config(kernel="exp")) == "exp"
    assert SYSTEM.variant(Config(kernel="sigmoid", alpha=0.6, decoupled=True)) == "sigmoid-alpha-0.6-lambda"
    assert SYSTEM.variant(Config(linear=True)) == "linear"


def test_linear_towers_list_items_by_their_rows_and_users_by_one_linear_map() -> None:
    data = view()
    towers = CroTowers(Config(linear=True, dim=8), data.schema)
    batch = data.train.batch(np.arange(2))
    rows = towers.of_items(torch.arange(len(data.item_fields)))
    assert torch.equal(towers.items(), torch.nn.functional.normalize(rows, dim=1))
    before = towers.of_users(batch)
    linear = towers.user_tower[0]
    assert isinstance(linear, nn.Linear)
    after = linear(before)
    torch.testing.assert_close(towers.users(batch), torch.nn.functional.normalize(after, dim=1))


def test_training_finds_more_than_chance_and_the_same_seed_the_same_weights(tmp_path: Path) -> None:
    config = Config(epochs=1, learning_rate=2e-2, negatives=64, dim=8, hidden=8)
    runs = [fit(SYSTEM, config, view(), FitOptions(run=tmp_path / name, quiet=True)) for name in ("one", "two")]
    assert runs[0].metrics["test"]["recall100"] > 0.3
    one, two = (run.module.state_dict() for run in runs)
    assert all(torch.equal(one[name], two[name]) for name in one)
