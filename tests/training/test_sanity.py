"""Our DeepFM under the protocol of published figures."""

import os
import statistics
from pathlib import Path

import pytest

from training.data import movielens
from training.data.fetch import default_cache
from training.sanity import PUBLISHED, published_protocol_auc


@pytest.mark.slow
def test_deepfm_is_as_good_as_three_public_libraries_say(tmp_path: Path) -> None:
    if not (default_cache() / "ml-100k").is_dir() and "RECSERVE_DATA" not in os.environ:
        pytest.skip("MovieLens-100k is not here: recserve data fetch ml-100k")
    data = movielens.load_fields()
    mean = statistics.fmean(published_protocol_auc(data, seed, tmp_path / str(seed)) for seed in range(3))
    assert min(PUBLISHED.values()) <= mean <= max(PUBLISHED.values())
