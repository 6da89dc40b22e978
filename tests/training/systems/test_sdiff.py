"""S-Diff: the denoiser, its guidance and the steps back, on planted users."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from recserve.studies.spectrum import command
from training.baselines import popularity
from training.data.retrieval import RetrievalBatch, RetrievalData
from training.data.user_rows import user_rows
from training.fit import FitOptions, FitResult, fit
from training.interactions import Interactions
from training.loop import predict
from training.system import Wanted, prepare
from training.systems.sdiff import SYSTEM, Config, SDiff
from training.systems.sdiff.bands import Bands, borders
from training.systems.sdiff.explained import explained
from training.systems.sdiff.samples import Users
from training.tasks.retrieval import RETRIEVAL

SMALL = Config(frequencies=60, hidden=32, bound=0.3, dropout=0.5, weight_decay=0.0)


@cache
def data() -> RetrievalData:
    return RETRIEVAL.view(RETRIEVAL.planted(), Wanted(SYSTEM.reads, SMALL.max_length, {}))


def model(config: Config = SMALL) -> SDiff:
    """Untrained, but for what starts at zero."""
    torch.manual_seed(0)
    module = SDiff(config, data().schema)
    prepare(module, data())
    with torch.no_grad():
        for parameter in (module.denoiser.film.weight, module.denoiser.film.bias, module.denoiser.null):
            parameter.normal_(std=0.3)
    return module.eval()


def met(module: SDiff, users: int = 6) -> torch.Tensor:
    return module_set(module, data().test.batch(np.arange(users)))


def module_set(module: SDiff, batch: RetrievalBatch) -> torch.Tensor:
    found = torch.zeros(len(batch.history), len(module.basis)).scatter(1, batch.history, 1.0)
    return found[:, 1:]


@cache
def trained(folder: Path, **changed: object) -> FitResult:
    config = replace(SMALL, epochs=8, batch_size=64, learning_rate=3e-3, **changed)  # pyright: ignore[reportArgumentType] - fields by name
    options = FitOptions(
        run=folder / "-".join(["run", *(f"{name}-{value}" for name, value in changed.items())]), quiet=True
    )
    return fit(SYSTEM, config, data(), options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sdiff")


def test_an_epoch_goes_once_through_all_that_trained() -> None:
    users = Users(data())
    batch = users.batch(np.arange(len(users)))
    pairs = {*zip(data().train.user.tolist(), data().train.targets[:, 0].tolist(), strict=True)}
    assert sorted((batch.history > 0).sum(dim=1).tolist()) == sorted(
        np.unique([user for user, _ in pairs], return_counts=True)[1].tolist()
    )
    assert torch.bincount(batch.history[batch.history > 0]).sum() == len(pairs)
    assert users.cost().tolist() == (batch.history > 0).sum(dim=1).tolist()


def test_a_step_with_the_truth_as_guess_goes_to_the_spectrum_at_the_lower_level() -> None:
    module = model()
    spectra = module.observed(met(module))
    for before, after in ((5, 4), (4, 1), (1, 0)):
        reached = module.step(module.signal[before] * spectra, spectra, before, after)
        assert torch.allclose(reached, module.signal[after] * spectra, atol=1e-5)


def test_a_step_shrinks_the_noise_that_the_guess_implies() -> None:
    module = model()
    spectra, drawn = module.observed(met(module)), torch.randn(6, len(module.spread))
    noisy = [module.noised(spectra, torch.full((6,), level), drawn) for level in (2, 4)]
    assert torch.allclose(module.step(noisy[1], spectra, 4, 2), noisy[0], atol=1e-4)


def test_at_first_the_answer_depends_on_no_level() -> None:
    torch.manual_seed(0)
    module = SDiff(SMALL, data().schema)
    prepare(module, data())
    spectra, condition = module.observed(met(module)), module.condition(met(module))
    low, high = (module.without_noise(spectra, condition, torch.full((6,), level)) for level in (1, 5))
    assert torch.equal(low, high)
    with torch.no_grad():
        module.denoiser.film.weight.normal_()
    low, high = (module.without_noise(spectra, condition, torch.full((6,), level)) for level in (1, 5))
    assert not torch.allclose(low, high)


def test_without_guidance_nobody_asks_for_the_untold_guess() -> None:
    module, guided = model(), model(replace(SMALL, guidance=0.7))
    before = guided.decode(met(guided)).argsort(dim=1)
    for one in (module, guided):
        torch.nn.init.constant_(one.denoiser.null, torch.nan)
    assert module.decode(met(module)).isfinite().all()
    assert guided.decode(met(guided)).isnan().all()
    assert not torch.equal(before, module.decode(met(module)).argsort(dim=1))


def test_guidance_goes_beyond_the_told_guess_away_from_the_other() -> None:
    module, guided = model(), model(replace(SMALL, guidance=0.5))
    spectra, condition = module.observed(met(module)), module.condition(met(module))
    told, untold = (
        module.without_noise(spectra, one, torch.full((6,), 3))
        for one in (condition, module.denoiser.null.expand(6, -1))
    )
    assert torch.allclose(guided.guessed(spectra, condition, 3), told + 0.5 * (told - untold), atol=1e-5)


def test_untold_the_denoiser_sees_the_noisy_spectrum_and_nothing_else_of_the_user() -> None:
    module = model(replace(SMALL, conditioned=False))
    some, others = met(module)[:3], met(module)[3:]
    spectra, levels = module.observed(some), torch.full((3,), 2)
    answers = [module.without_noise(spectra, module.condition(one), levels) for one in (some, others)]
    assert torch.equal(*answers)
    assert not torch.allclose(answers[0], module.without_noise(module.observed(others), module.condition(some), levels))
    told = model()
    assert not torch.allclose(told.condition(some), told.condition(others))


def test_training_tells_no_condition_of_a_share_of_the_users() -> None:
    module = model()
    condition = module.condition(met(module))
    mixed = module.denoiser.untold(condition, torch.tensor([True, False] * 3))
    assert torch.equal(mixed[1::2], condition[1::2])
    assert (mixed[::2] == module.denoiser.null).all()
    batch = Users(data()).batch(np.arange(40))
    always, never = (model(replace(SMALL, untold=share)) for share in (0.999, 0.0))
    for one, reaches in ((always, False), (never, True)):
        one.loss(batch, 0.0)[0].backward()
        assert one.denoiser.encode.weight.grad is not None
        assert bool(one.denoiser.encode.weight.grad.abs().sum() > 0) == reaches


def test_all_frequencies_lose_nothing_of_what_was_met() -> None:
    module = model(replace(SMALL, frequencies=400, decoder="low-pass"))
    assert torch.allclose(module.decode(met(module)) @ module.items()[1:].T, met(module), atol=1e-4)


def test_the_loss_asks_for_what_was_not_observed_alone() -> None:
    module = model(replace(SMALL, dropout=0.0))
    batch = Users(data()).batch(np.arange(40))
    torch.manual_seed(1)
    before = module.loss(batch, 0.0)[0].item()
    with torch.no_grad():
        module.denoiser.leave.weight.zero_()
        module.denoiser.leave.bias.zero_()
    assert before > 0
    assert module.loss(batch, 0.0)[0].item() == 0, "all that was met was observed, and nothing else is guessed"
    dropping = model(replace(SMALL, dropout=0.5))
    with torch.no_grad():
        dropping.denoiser.leave.weight.zero_()
        dropping.denoiser.leave.bias.zero_()
    sizes = (batch.history > 0).sum(dim=1).float()
    assert dropping.loss(batch, 0.0)[0].item() == pytest.approx(float(sizes.mean()) / 2, rel=0.2)


def test_one_step_takes_the_first_guess() -> None:
    five, one = model(), model(replace(SMALL, steps=1))
    told = met(one)
    first = one.guessed(one.signal[5] * one.observed(told), one.condition(told), 5)
    assert torch.allclose(one.decode(told), first, atol=1e-6)
    assert not torch.allclose(five.decode(told), first, atol=1e-3)


def test_low_pass_keeps_the_lowest_frequencies_as_they_are_and_trains_nothing() -> None:
    config = replace(SMALL, decoder="low-pass")
    module = model(config)
    scores = module.users(data().test.batch(np.arange(6))) @ module.items().T
    root = torch.from_numpy(user_rows(data()).toarray()[:, 1:].sum(axis=0)).float().clamp(min=1).sqrt()
    projected = (met(module) / root @ module.basis[1:] @ module.basis[1:].T) * root
    assert torch.allclose(scores[:, 1:], projected, atol=1e-4)
    assert list(SYSTEM.stages_of(config)) == []


def test_an_answer_is_the_same_twice_and_an_empty_or_unknown_history_has_one() -> None:
    module = model()
    batch = data().test.batch(np.arange(6))
    assert torch.equal(module.users(batch), module.users(batch))
    empty = batch._replace(history=torch.zeros(6, 0, dtype=torch.int64), length=torch.zeros(6, dtype=torch.int64))
    assert module.users(empty).isfinite().all()
    strange = torch.cat((batch.history, torch.full((6, 2), 2**40)), dim=1)
    assert torch.equal(module.users(batch._replace(history=strange)), module.users(batch))


def test_trained_it_finds_more_than_popularity_and_the_ideal_low_pass(folder: Path) -> None:
    measured = trained(folder).metrics["test"]
    popular = popularity.Popularity(popularity.Config(), data().schema)
    popular.prepare(data())
    low_pass = model(replace(SMALL, decoder="low-pass"))
    for bar in (popular, low_pass):
        assert measured["recall20"] > RETRIEVAL.evaluate(bar, predict, data().test)["recall20"]


def test_what_noise_hides_it_is_told_by_what_the_user_met(folder: Path) -> None:
    told, untold = (trained(folder, bound=2.0, last=3.0, conditioned=one).metrics["test"] for one in (True, False))
    assert told["recall20"] > 2 * untold["recall20"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 6}, r"steps \(6\) must be 1 to levels \(5\)"),
        ({"dropout": 1.0}, r"dropout \(1.0\) and untold"),
        ({"guidance": 0.5, "untold": 0.0}, "guidance is 0.5, for which conditioned and untold must be on"),
        ({"last": 0.0}, r"last \(0.0\) above 0"),
    ],
)
def test_what_cannot_be_is_one_line(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changed)  # pyright: ignore[reportArgumentType] - fields by name


def test_variants_are_named_by_their_control() -> None:
    assert SYSTEM.variant(Config()) == ""
    assert SYSTEM.variant(Config(noise="isotropic")) == "isotropic"
    assert SYSTEM.variant(Config(decoder="low-pass")) == "low-pass"
    assert SYSTEM.variant(Config(steps=1)) == "steps-1"


def test_bands_hold_all_energy_before_and_after() -> None:
    module = model()
    bands = Bands(module)
    before, after, last = bands.of(met(module))
    assert torch.allclose(before.sum(dim=1), module.observed(met(module)).square().sum(dim=1), rtol=1e-4)
    assert torch.allclose(after.sum(dim=1), module.decode(met(module)).square().sum(dim=1), rtol=1e-4)
    assert torch.allclose(before[:, 0], module.observed(met(module))[:, 0].square())
    assert (last[0].diff() > 0).all()
    assert borders(60)[0] == (0, 1)
    assert borders(60)[-1][1] == 60
    assert borders(3) == [(0, 1), (1, 2), (2, 3)]


def test_an_answer_is_explained_by_its_bands() -> None:
    module = model()
    bands = Bands(module)

    def infer(name: str, request: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert name == "sdiff_bands"
        history = torch.from_numpy(request["history"][0])
        found = bands(history, torch.tensor([len(history)], dtype=torch.int32))
        return dict(zip(("before", "after", "last"), (one.detach().numpy() for one in found), strict=True))

    interactions: Interactions = data().interactions
    request = {"history": np.array([[3, 9, 30]])}
    (shown,) = explained(infer, "sdiff", interactions, request, {})
    assert len(shown.rows) == len(bands.borders)
    for column in (3, 4):
        assert sum(float(str(row[column])) for row in shown.rows) == pytest.approx(1)
    assert str(shown.rows[0][0]).startswith("0.000 to ")


def test_the_study_measures_both_noises_and_draws_them(tmp_path: Path) -> None:
    bands = command.both(model())
    graph, even = ([one for one in bands if one.noise == noise] for noise in ("by frequency", "isotropic"))
    assert len(graph) == len(even) == 5 * 8
    assert graph[0].snr_db is None, "no noise at frequency 0"
    assert even[0].snr_db is not None
    assert sum(one.noise_energy for one in graph) == pytest.approx(sum(one.noise_energy for one in even))
    command.draw(bands, "planted", tmp_path / "snr.png")
    assert (tmp_path / "snr.png").stat().st_size > 10_000
