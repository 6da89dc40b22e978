from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from tests.training.systems.cmvf_models import SMALL, data, distributions, everyone, model
from training.data.tracing import TracingBatch
from training.layers.mixtures import Mixture, Posterior
from training.layers.tracer import fold_gap
from training.systems.cmvf import SYSTEM, Config, build
from training.systems.cmvf.evaluation import normalised_mutual_information
from training.systems.cmvf.loss import cmvf_loss
from training.systems.cmvf.modes import Likeness, Routing
from training.tasks.tracing import cross_entropy

KINDS = [
    replace(SMALL, base=base, posterior=posterior, mode_extractor=extractor)
    for base, posterior, extractor in product(("dkt", "pfa"), ("id", "prefix"), ("softmax", "routing"))
]
every = pytest.mark.parametrize("config", KINDS, ids=lambda one: f"{one.base}-{one.posterior}-{one.mode_extractor}")


def some(rows: int = 6) -> TracingBatch:
    """Of those with 8 to 16 answers."""
    return data().test.batch(short()[:rows])


def short() -> np.ndarray:
    cost = data().test.cost()
    return np.flatnonzero((cost >= 8) & (cost <= 16))


def lasting(config: Config) -> Config:
    """Without warm-up, and with nobody who counts as new."""
    return replace(config, warm_up=0.0, unseen_rate=0.0)


@every
def test_sequence_form_is_the_fold_of_its_steps(config: Config) -> None:
    module, batch = model(config), some(8)
    assert fold_gap(module, batch) < 1e-5
    assert fold_gap(module, batch._replace(length=batch.length // 2)) < 1e-5
    none = batch._replace(length=torch.zeros_like(batch.length))
    for one, two in zip(module.after(none), module.start(batch.student), strict=True):
        assert torch.equal(one, two)


@every
def test_nothing_at_a_step_is_from_its_answer_or_a_later_one_exactly(config: Config) -> None:
    module, batch, place = model(config), some(1), 4
    changed = batch.responses.clone()
    changed[0, place:] = 1 - changed[0, place:]
    later = batch.questions.clone()
    later[0, place + 1 :] = 3
    other = batch._replace(responses=changed, questions=later)
    before, after = module.before(batch), module.before(other)
    told = [(module(batch), module(other)), (before.log_share, after.log_share)]
    told += [*zip(distributions(module, before)[0], distributions(module, after)[0], strict=True)]
    for one, two in told:
        assert one is not None
        assert two is not None
        assert torch.equal(one[:, : place + 1], two[:, : place + 1])
    for one, two in told[:2]:
        assert not torch.equal(one[:, place + 1 :], two[:, place + 1 :])


@every
def test_neither_padding_nor_neighbours_change_a_logit(config: Config) -> None:
    module, rows, together = model(config), short(), some()
    logits, state = module(together), module.after(together)
    for row in range(6):
        alone = data().test.batch(rows[[row]])
        torch.testing.assert_close(module(alone)[0], logits[row, : int(alone.length[0])], rtol=0, atol=1e-6)
        for one, two in zip(module.after(alone), state, strict=True):
            torch.testing.assert_close(one[0], two[row], rtol=0, atol=1e-6)


@every
def test_what_nobody_knows_has_an_answer(config: Config) -> None:
    module = model(config)
    state = module.start(torch.tensor([10**9, 0]))
    for question in (10**9, 0, 5):
        asked = torch.tensor([question, question])
        state = module.step(state, asked, torch.tensor([1, 0]))
        assert torch.isfinite(module.ask(state, asked)).all()
        assert torch.isfinite(module.mastery(state)).all()
    for part, (least, most) in zip(state, module.bounds, strict=True):
        assert ((part >= least) & (part <= most)).all()


@every
def test_new_students_with_the_same_answers_have_the_same_vector(config: Config) -> None:
    module, batch = model(config), some(1)
    same = TracingBatch(torch.tensor([0, 10**9]), *(part.repeat(2, *[1] * (part.ndim - 1)) for part in batch[1:]))
    seen = module.before(same)
    one, two = module.vector(seen)
    # Not bit for bit: which row of a product a processor sums how is its own affair.
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)
    known = module.vector(module.before(same._replace(student=everyone().student[:2])))
    assert torch.allclose(known[0], known[1], rtol=1e-5, atol=1e-6) == (config.posterior == "prefix")


@every
def test_the_vector_adds_to_the_hosts_logit_what_it_says_of_the_question(config: Config) -> None:
    module, batch = model(config), some(2)
    state, question = module.after(batch), torch.tensor([3, 7])
    vector = module.vector(module.seen(state))
    host = type(module.host.start(question))(*module.host.after(batch))
    said = (vector * module.readout(question, module.concepts(question))).sum(dim=1)
    torch.testing.assert_close(module.ask(state, question), module.host.ask(host, question) + said)
    concept = (vector @ module.readout.concept.weight[1:].T + module.host.mastery(host).logit()).sigmoid()
    torch.testing.assert_close(module.mastery(state), concept)


def test_a_student_of_whom_training_has_nothing_has_the_priors_mean() -> None:
    module = model(replace(SMALL, posterior="id"))
    known = everyone().student[:1]
    batch = some(1)._replace(student=torch.zeros(1, dtype=torch.int64))
    new, old = (module.before(one) for one in (batch, batch._replace(student=known)))
    assert module.prior is not None
    assert new.log_share is not None
    by_hand = new.log_share.exp() @ module.prior.mean
    torch.testing.assert_close(module.vector(new), by_hand)
    own = module.source(old.number, old.described, by_hand).mean
    torch.testing.assert_close(module.vector(old), own.expand(by_hand.shape))
    assert own.shape[1] == 1, "one vector for all his answers"


@pytest.mark.parametrize("posterior", ["id", "prefix"])
def test_the_divergence_of_each_answer_is_divided_by_the_answers_behind_its_distribution(posterior: str) -> None:
    module = model(lasting(replace(SMALL, posterior=posterior)))
    batch = everyone()
    each = module.source.divergence(*distributions(module, module.before(batch)))
    student = batch.student[:, None].expand(each.shape)
    own = torch.zeros(len(data().students)).index_add_(0, student.flatten(), batch.counts.flatten())
    behind = own[student] if posterior == "id" else torch.arange(1, each.shape[1] + 1).float()
    by_hand = (each / behind * batch.counts).sum() / batch.counts.sum()
    torch.testing.assert_close(cmvf_loss(module, batch, 1.0)[1]["divergence"], by_hand)


@pytest.mark.parametrize("posterior", ["id", "prefix"])
def test_one_mode_is_the_closed_form(posterior: str) -> None:
    module = model(replace(SMALL, modes=1, posterior=posterior))
    found, prior = distributions(module, module.before(some()))
    normals = (Normal(one.mean, (one.log_variance / 2).exp()) for one in (found, prior))
    torch.testing.assert_close(module.source.divergence(found, prior), kl_divergence(*normals).sum(dim=-1))


@pytest.mark.parametrize("posterior", ["id", "prefix"])
def test_the_divergence_is_above_that_of_draws_and_by_answers_is_none_of_the_prior_itself(posterior: str) -> None:
    module = model(replace(SMALL, modes=3, posterior=posterior))
    found, prior = distributions(module, module.before(some(1)))
    found, prior = Posterior(*(one[0, 5] for one in found)), prior._replace(log_share=prior.log_share[0, 5])
    bound = module.source.divergence(found, prior)
    own = found if posterior == "id" else _moved(found, prior)
    torch.manual_seed(1)
    mode = torch.multinomial(prior.log_share.exp(), 20_000, replacement=True)
    mean = own.mean if posterior == "id" else own.mean[mode]
    drawn = mean + (found.log_variance / 2).exp() * torch.randn(20_000, 8)
    exact = (_density(drawn, own, prior.log_share) - _density(drawn, prior, prior.log_share)).mean()
    assert bound >= exact - 0.05
    if posterior == "prefix":
        still = Posterior(prior.log_share.exp() @ prior.mean, torch.zeros(8))
        same = prior._replace(log_variance=torch.zeros_like(prior.mean))
        assert module.source.divergence(still, same).abs() < 1e-6


def _moved(found: Posterior, prior: Mixture) -> Posterior:
    """Its modes."""
    return found._replace(mean=prior.mean + found.mean - prior.log_share.exp() @ prior.mean)


def _density(drawn: Tensor, of: Posterior | Mixture, log_share: Tensor) -> Tensor:
    """Logarithms, of a Gaussian or of several with these shares."""
    each = Normal(of.mean, (of.log_variance / 2).exp()).log_prob(drawn[:, None]).sum(dim=-1)
    return torch.logsumexp(each + log_share, dim=1) if each.shape[1] > 1 else each[:, 0]


@pytest.mark.parametrize("posterior", ["id", "prefix"])
def test_without_divergence_and_noise_it_is_the_control_with_a_plain_vector(posterior: str) -> None:
    """Of the same weights; modes that are all at zero say nothing."""
    config = replace(SMALL, posterior=posterior, unseen_rate=0.0, prior_weight=0.0, entropy_weight=0.0)
    module, control = model(config), build(replace(config, vector="plain"), data().schema)
    assert module.prior is not None
    torch.nn.init.zeros_(module.prior.mean)
    control.load_state_dict(module.state_dict(), strict=False)
    batch = everyone()
    without = cmvf_loss(module, batch, 0.0)[0]
    torch.testing.assert_close(without, cmvf_loss(control, batch, 0.0)[0])
    torch.testing.assert_close(without, cross_entropy(control(batch), batch))
    assert cmvf_loss(module, batch, 1.0)[0] > without + 0.01


def test_those_who_count_as_new_have_the_priors_mean_in_training() -> None:
    config = replace(SMALL, posterior="id", prior_weight=0.0, entropy_weight=0.0)
    module, batch = model(replace(config, unseen_rate=1.0)), everyone()
    seen = module.before(batch)
    by_hand = cross_entropy(module.logits(seen, module.centre(seen), batch.questions), batch)
    torch.testing.assert_close(cmvf_loss(module, batch, 1.0)[1]["loss"], by_hand)
    control = model(replace(config, unseen_rate=1.0, vector="plain"))
    nobody = batch._replace(student=torch.zeros_like(batch.student))
    torch.testing.assert_close(cmvf_loss(control, batch, 1.0)[0], cross_entropy(control(nobody), nobody))


def test_modes_are_held_together_and_in_use() -> None:
    module, batch = model(replace(SMALL, beta=0.0, prior_weight=0.3, entropy_weight=0.7)), everyone()
    assert module.prior is not None
    mean, log_variance = module.prior.mean, module.prior.log_variance
    from_normal = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(dim=1).mean()
    log_share = module.before(batch).log_share
    assert log_share is not None
    share = log_share[batch.counts > 0].exp().mean(dim=0)
    total, parts = cmvf_loss(module, batch, 0.9)
    by_hand = 0.3 * from_normal + 0.7 * (share * share.log()).sum()
    torch.testing.assert_close(total - parts["loss"], by_hand)


def test_the_divergence_is_warmed_up() -> None:
    module, batch = model(replace(SMALL, warm_up=0.2, prior_weight=0.0, entropy_weight=0.0)), some()
    weights = []
    for done in (0.1, 0.2, 0.3, 0.4, 0.9):
        total, parts = cmvf_loss(module, batch, done)
        weights.append(((total - parts["loss"]) / parts["divergence"]).item())
    assert weights == pytest.approx([0, 0, 0.5, 1, 1], abs=1e-3)


def test_routing_is_three_rounds_of_agreement() -> None:
    module = model(replace(SMALL, mode_extractor="routing", modes=3))
    assert module.prior is not None
    routing = module.prior.extractor
    assert isinstance(routing, Routing)
    torch.manual_seed(0)
    vectors, there = torch.randn(2, 6, 8), torch.arange(6) >= torch.tensor([[2], [0]])
    found = routing.routed(vectors, there)
    for row in range(2):
        own = vectors[row, there[row]]
        agreed, capsules = own @ routing.modes.T, torch.zeros(3, 8)
        for _ in range(3):
            total = agreed.softmax(dim=1).T @ own
            square = total.square().sum(dim=1, keepdim=True)
            capsules = square / (1 + square) * total / square.sqrt()
            agreed = agreed + own @ capsules.T
        length = capsules.norm(dim=1)
        torch.testing.assert_close(found[row].exp(), length / length.sum())
    nothing = routing.routed(vectors, torch.zeros(2, 6).bool())
    torch.testing.assert_close(nothing.exp(), torch.full((2, 3), 1 / 3))


def test_likeness_to_modes_is_by_angle() -> None:
    module = model()
    assert module.prior is not None
    extractor, seen = module.prior.extractor, module.before(some())
    assert isinstance(extractor, Likeness)
    assert seen.log_share is not None
    turned = extractor.turned(seen.described)
    cosine = torch.nn.functional.cosine_similarity(turned[..., None, :], extractor.modes, dim=-1)
    torch.testing.assert_close(seen.log_share.exp(), (cosine / SMALL.temperature).softmax(dim=-1))


def test_what_two_labels_say_of_each_other_is_between_nothing_and_all() -> None:
    true = np.array([0, 0, 1, 1, 2, 2])
    assert normalised_mutual_information(np.array([5, 5, 0, 0, 1, 1]), true) == pytest.approx(1)
    assert normalised_mutual_information(np.array([0, 1] * 3), true) == pytest.approx(0)
    assert normalised_mutual_information(np.zeros(6, np.int64), true) == 0
    half = 2 * np.log(2) / (np.log(2) + np.log(4))
    assert normalised_mutual_information(np.array([0, 0, 1, 1]), np.arange(4)) == pytest.approx(half)
    with pytest.raises(ValueError, match="of one mode"):
        normalised_mutual_information(true, np.zeros(6, np.int64))


def test_each_control_has_a_name() -> None:
    chosen = {
        "": {},
        "pfa": {"base": "pfa"},
        "id": {"posterior": "id"},
        "routing": {"mode_extractor": "routing"},
        "plain-vector": {"vector": "plain", "modes": 1},
        "one-mode": {"modes": 1},
        "no-divergence": {"beta": 0.0},
        "pfa-id-leaking-random-split": {"base": "pfa", "posterior": "id", "split": "random"},
    }
    for name, settings in chosen.items():
        assert SYSTEM.variant(Config(**settings)) == name
    assert [SYSTEM.baseline_of(Config(base=base)) for base in ("dkt", "pfa")] == ["dkt", "pfa"]
