"""GSVR's distributions: the divergence, the prior, the posterior, and what counts as seen."""

import numpy as np
import pytest
import torch

from tests.training.systems.gsvr_models import model
from training.layers.mixtures import Mixture, Posterior, gaussian_kl, mixture_kl
from training.systems.gsvr.cells import Prior, seen


def distributions(seed: int = 0, components: int = 5) -> tuple[Posterior, Mixture]:
    torch.manual_seed(seed)
    cell = Posterior(torch.randn(3, 4).double(), 0.5 * torch.randn(3, 4).double())
    shares = torch.log_softmax(torch.randn(3, components).double(), dim=1)
    return cell, Mixture(shares, torch.randn(components, 4).double(), 0.3 * torch.randn(components, 4).double())


def log_density(z: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    return -0.5 * ((z - mean) ** 2 / log_variance.exp() + log_variance + np.log(2 * np.pi)).sum(-1)


@pytest.mark.parametrize("seed", range(4))
def test_the_divergence_from_a_mixture_is_a_bound_that_is_never_negative(seed: int) -> None:
    cell, prior = distributions(seed)
    bound = mixture_kl(cell, prior)
    z = cell.mean + (cell.log_variance / 2).exp() * torch.randn(20_000, 3, 4).double()
    components = log_density(z[:, :, None], prior.mean, prior.log_variance)
    sampled = (log_density(z, *cell) - torch.logsumexp(prior.log_share + components, dim=2)).mean(0)
    assert (bound >= sampled - 0.05).all()
    assert (bound >= -1e-6).all()
    convex = (prior.log_share.exp() * gaussian_kl(cell.mean[:, None], cell.log_variance[:, None], *prior[1:])).sum(1)
    assert (bound <= convex + 1e-9).all()


def test_of_one_component_it_is_the_closed_form() -> None:
    cell, prior = distributions(components=1)
    normal = torch.distributions.Normal
    exact = torch.distributions.kl_divergence(
        normal(cell.mean, (cell.log_variance / 2).exp()), normal(prior.mean, (prior.log_variance / 2).exp())
    ).sum(1)
    torch.testing.assert_close(mixture_kl(cell, prior), exact)
    own = Mixture(torch.zeros(3, 1).double(), cell.mean[:1], cell.log_variance[:1])
    assert mixture_kl(Posterior(cell.mean[:1], cell.log_variance[:1]), own._replace(log_share=own.log_share[:1])) == 0


def test_moments_of_a_mixture_are_those_of_its_draws() -> None:
    _, prior = distributions()
    chosen = torch.multinomial(prior.log_share.exp(), 40_000, replacement=True)  # (3, draws)
    z = prior.mean[chosen] + (prior.log_variance[chosen] / 2).exp() * torch.randn(3, 40_000, 4).double()
    found = prior.moments()
    torch.testing.assert_close(found.mean, z.mean(1), atol=0.05, rtol=0)
    torch.testing.assert_close(found.log_variance.exp(), z.var(1), atol=0.1, rtol=0.05)


def test_the_prior_is_alike_for_like_entities_and_moves_none_of_their_vectors() -> None:
    torch.manual_seed(0)
    prior, side = Prior(8, 5, 1.0), torch.randn(4, 8, requires_grad=True)
    same = prior(side[[0, 1, 0]])
    assert torch.equal(same.log_share[0], same.log_share[2])
    assert not torch.equal(same.log_share[0], same.log_share[1])
    (same.log_share.sum() + prior.mean.sum()).backward()
    assert side.grad is None


def test_a_posterior_follows_from_entity_scenario_both_and_the_count() -> None:
    module = model()
    user, scenario, base = torch.tensor([3, 3, 7]), torch.tensor([1, 2, 2]), torch.randn(3, 8)
    side, cells = module.users, module.users.cells
    shared, scene = cells.entities.weight[user] + base, cells.scenes.weight[scenario]
    count = cells.counts.reshape(-1, 4)[user, scenario].double().log1p()[:, None].float()
    assert cells.residuals is not None
    own = cells.residuals.weight.reshape(-1, 4, 8)[user, scenario]
    network = side.inference
    inner = torch.relu(network.first(torch.cat([shared, scene, shared * scene, count], dim=1)))
    shift, log_variance = network.second(inner).split(8, dim=1)
    found = side.posterior(user, scenario, base)
    torch.testing.assert_close(found.mean, shared + shift + own)
    torch.testing.assert_close(found.log_variance, log_variance)
    with torch.no_grad():
        network.second.bias.add_(1000)
        assert side.posterior(user, scenario, base).log_variance.unique().tolist() == [4]
        network.second.bias.sub_(2000)
        assert side.posterior(user, scenario, base).log_variance.unique().tolist() == [-8]


def test_a_prior_is_a_softmax_by_its_temperature_held_to_the_normal_and_to_all_its_components() -> None:
    torch.manual_seed(0)
    prior, side = Prior(6, 5, 2.5), torch.randn(9, 6)
    with torch.no_grad():
        prior.log_variance.normal_()
        prior.mean.normal_()
    mixture = prior(side)
    torch.testing.assert_close(mixture.log_share.exp(), torch.softmax(prior.share(side) / 2.5, dim=1))
    normal = torch.distributions.Normal
    apart = torch.distributions.kl_divergence(
        normal(prior.mean, (prior.log_variance / 2).exp()), normal(torch.zeros(5, 6), torch.ones(5, 6))
    )
    mean = mixture.log_share.exp().mean(dim=0)
    expected = apart.sum(dim=1).mean() - 0.01 * torch.distributions.Categorical(mean).entropy()
    torch.testing.assert_close(prior.spread(mixture), expected)


def test_cells_without_samples_and_a_share_of_the_others_count_as_unseen() -> None:
    torch.manual_seed(0)
    count = torch.arange(2).repeat(5000)
    found = seen(count, 0.3)
    assert not found[count == 0].any()
    assert found[count > 0].float().mean() == pytest.approx(0.7, abs=0.03)
