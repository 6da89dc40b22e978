"""Our DeepFM under the protocol of published figures."""

import statistics
from pathlib import Path

import pytest

from recserve.studies.sanity import PUBLISHED, movielens, published_protocol_auc


@pytest.mark.slow
@pytest.mark.long
def test_deepfm_is_as_good_as_three_public_libraries_say(tmp_path: Path) -> None:
    data = movielens()
    mean = statistics.fmean(published_protocol_auc(data, seed, tmp_path / str(seed)) for seed in range(3))
    assert min(PUBLISHED.values()) <= mean <= max(PUBLISHED.values())
