"""S-Diff's spectrum and its noise: what the mechanism says of them, on small graphs."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from training.systems.sdiff import spectrum as spectra
from training.systems.sdiff.schedule import Schedule, isotropic, schedule
from training.systems.sdiff.spectrum import Spectrum, spectrum

NUM_USERS, NUM_ITEMS = 200, 40
LEVELS, LAST, BOUND = 5, 1.5, 0.3


@pytest.fixture(scope="module")
def met() -> csr_matrix:
    """Users with a taste for one of four kinds of items, some more popular than others."""
    random = np.random.default_rng(0)
    taste, kind = np.arange(NUM_USERS) % 4, np.arange(NUM_ITEMS) % 4
    share = np.where(taste[:, None] == kind, 0.5, 0.05) * random.uniform(0.4, 1.0, NUM_ITEMS)
    return csr_matrix((random.random((NUM_USERS, NUM_ITEMS)) < share).astype(float))


@pytest.fixture(scope="module")
def whole(met: csr_matrix) -> Spectrum:
    return spectrum(met, NUM_ITEMS)


def planned(whole: Spectrum) -> Schedule:
    return schedule(torch.from_numpy(whole.frequencies), LEVELS, LAST, BOUND)


def spread_of(met: csr_matrix, whole: Spectrum) -> torch.Tensor:
    return torch.from_numpy((scaled(met) @ whole.basis).std(axis=0))


def scaled(met: csr_matrix) -> np.ndarray:
    return met.toarray() / np.sqrt(np.asarray(met.sum(axis=0)))


def test_all_eigenvectors_are_a_basis_in_which_nothing_is_lost(met: csr_matrix, whole: Spectrum) -> None:
    assert np.allclose(whole.basis.T @ whole.basis, np.eye(NUM_ITEMS))
    assert np.allclose(met @ whole.basis @ whole.basis.T, met.toarray())


def test_they_are_those_of_the_laplacian_of_the_items(met: csr_matrix, whole: Spectrum) -> None:
    dense = met.toarray()
    scaled = dense / np.sqrt(dense.sum(axis=1, keepdims=True).clip(1)) / np.sqrt(dense.sum(axis=0, keepdims=True))
    laplacian = np.eye(NUM_ITEMS) - scaled.T @ scaled
    assert np.allclose(laplacian @ whole.basis, whole.basis * whole.frequencies)


def test_frequencies_ascend_from_0_and_the_first_is_what_all_like(met: csr_matrix, whole: Spectrum) -> None:
    assert whole.frequencies[0] == pytest.approx(0, abs=1e-12)
    assert (np.diff(whole.frequencies) >= 0).all()
    assert whole.frequencies[-1] <= 1
    root = np.sqrt(np.asarray(met.sum(axis=0)).ravel())
    assert np.allclose(whole.basis[:, 0], root / np.linalg.norm(root))


def test_the_lowest_few_alone_are_those_of_the_whole(
    met: csr_matrix, whole: Spectrum, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spectra, "_MOST_DENSE", 10)
    few = spectrum(met, 7)
    assert np.allclose(few.frequencies, whole.frequencies[:7])
    assert np.allclose(few.basis, whole.basis[:, :7], atol=1e-6), "signs too"


def test_an_item_that_nobody_met_has_no_part_in_low_frequencies(met: csr_matrix) -> None:
    lonely = csr_matrix(np.concatenate((met.toarray(), np.zeros((NUM_USERS, 1))), axis=1))
    found = spectrum(lonely, NUM_ITEMS + 1)
    assert found.frequencies[-1] == pytest.approx(1)
    assert np.allclose(found.basis[-1, :-1], 0)


def test_there_is_no_noise_at_frequency_0_and_never_more_than_the_bound(whole: Spectrum) -> None:
    found = planned(whole)
    assert (found.noise[:, 0] < 1e-6).all()
    assert (found.noise[1:, 1:] > 0).all()
    assert (found.noise <= BOUND).all()
    far = schedule(torch.from_numpy(whole.frequencies), LEVELS, 1e6, BOUND)
    assert far.noise[-1, 1:].tolist() == pytest.approx([BOUND] * (NUM_ITEMS - 1)), "it reaches the bound"


def test_at_level_0_the_spectrum_is_whole(whole: Spectrum) -> None:
    found = planned(whole)
    assert (found.signal[0] == 1).all()
    assert (found.noise[0] == 0).all()


def test_signal_against_noise_falls_with_the_level_and_with_the_frequency(met: csr_matrix, whole: Spectrum) -> None:
    """Counted on drawn noise, in four bands."""
    found, spread = planned(whole), spread_of(met, whole)
    unit = spread.square().mean().sqrt()
    users = torch.from_numpy(scaled(met) @ whole.basis)
    users = users - users.mean(dim=0)
    torch.manual_seed(0)
    ratio = torch.empty(LEVELS, 4)
    for level in range(1, LEVELS + 1):
        signal = found.signal[level] * users
        noise = found.noise[level] * unit * torch.randn(2_000, NUM_ITEMS, dtype=torch.float64)
        bands = torch.arange(NUM_ITEMS).chunk(4)
        ratio[level - 1] = torch.stack(
            [signal[:, band].square().sum(1).mean() / noise[:, band].square().sum(1).mean() for band in bands]
        )
    assert (ratio.diff(dim=0) < 0).all()
    assert (ratio.diff(dim=1) < 0).all()


def test_isotropic_noise_of_equal_energy_drowns_what_all_like(whole: Spectrum) -> None:
    found = planned(whole)
    even = isotropic(found)
    energies = [one.noise.square().sum(dim=1) for one in (found, even)]
    assert torch.allclose(energies[0], energies[1])
    assert (even.noise[1:].diff(dim=1) == 0).all(), "the same for all frequencies"
    lowest = [(one.signal[1:, 1:4] / one.noise[1:, 1:4]).square() for one in (found, even)]
    highest = [(one.signal[1:, -5:] / one.noise[1:, -5:]).square() for one in (found, even)]
    assert (lowest[0] > lowest[1]).all()
    assert (highest[0] < highest[1]).all()
    assert (even.noise[1:, 0] > 0).all()


@pytest.mark.parametrize("kind", ["graph", "isotropic"])
def test_noise_shrinks_from_level_to_level_as_the_schedule_says(whole: Spectrum, kind: str) -> None:
    found = planned(whole) if kind == "graph" else isotropic(planned(whole))
    shares = found.noise[2, 1:] / found.noise[4, 1:]
    assert torch.allclose(found.kept[2, 1:] / found.kept[4, 1:], shares)
    if kind == "graph":
        assert found.kept[2, 0] / found.kept[4, 0] == pytest.approx((2 / 4) ** 0.5), "the limit at frequency 0"
