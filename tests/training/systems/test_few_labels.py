"""What pre-training is for: few labels, and vectors that do not collapse. Each beside the same network without it."""

from statistics import mean

import pytest

from tests.training.systems.few_labels import SHARE, WAYS, data, trained
from training.loop import predict
from training.metrics import auc
from training.systems.dgenctr.evaluation import abundance
from training.systems.dgenctr.stages import chosen

pytestmark = pytest.mark.long

SEEDS = (0, 1, 2, 3)


def test_with_few_labels_full_transfer_beats_the_same_network_from_scratch_and_spreads_its_vectors() -> None:
    """48 of 2,400 rows have a label; the others say which values mean the same. Rates and rows of the click stage are
    the system's for both."""
    assert len(chosen(len(data().train), SHARE)) == 48
    different = {name for name, value in vars(WAYS["all"]).items() if value != vars(WAYS["scratch"])[name]}
    assert different == {"pretraining"}
    found = {way: [auc(data().test.label, predict(trained(way, seed), data().test)) for seed in SEEDS] for way in WAYS}
    assert mean(found["all"]) > mean(found["scratch"]) + 0.01, "one seed alone says nothing here"
    spread = {way: [abundance(trained(way, seed).embedding) for seed in SEEDS] for way in WAYS}
    assert min(spread["all"]) > max(spread["scratch"])
