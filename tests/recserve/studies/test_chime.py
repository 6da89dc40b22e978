"""What `recserve study chime` asks its graphs, and what it draws."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recserve.studies.chime import models, profile
from recserve.studies.chime.command import Chime
from recserve.studies.chime.picture import LABELS, draw
from training.systems.chime.servables import servables


def test_states_of_all_lengths_are_asked_of_one_scorer() -> None:
    short, long = models.chime_data(64), models.chime_data(96)
    model = models.untrained(short)
    releases = [
        {one.name: one for one in servables("chime", model, models.config_of(data.max_length), data)}
        for data in (short, long)
    ]
    pairs = zip((short, long), releases, strict=True)
    asked = [models.requests_of(data, models.small(one["chime_encoder"])) for data, one in pairs]
    for requests, length in zip(asked, (64, 96), strict=True):
        for one in requests:
            assert int(one.state["counts"][0, 0].sum()) == length
            assert models._bytes(one.state) <= 2048
    request = asked[1][0]
    ends = torch.tensor([models.CANDIDATES], dtype=torch.int32)
    state = [torch.from_numpy(array) for array in request.state.values()]
    answers = [one["chime_scorer"].eager(torch.from_numpy(request.candidates[0]), ends, *state)[0] for one in releases]
    assert torch.equal(*answers)
    assert np.isfinite(answers[0].numpy()).all()


def test_a_result_is_drawn(tmp_path: Path) -> None:
    rows = [{"way": way, "length": length, "p50_ms": 1.0} for way in LABELS for length in (64, 128)]
    draw({"rows": rows, "candidates": 1000}, tmp_path / "picture.svg")
    assert "<svg" in (tmp_path / "picture.svg").read_text()


def test_lengths_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="two or more different ones of at least 64"):
        Chime(lengths=(128, 128))
    with pytest.raises(ValueError, match="--repetitions is 0"):
        Chime(repetitions=0)


@pytest.mark.long
def test_assignment_and_histogram_are_told_from_the_rest_of_a_graph() -> None:
    rows = {row["graph"]: row for row in profile.profiled(64, 2)}
    assert list(rows) == ["chime_encoder", "chime_observer", "chime_scorer"]
    for name in ("chime_encoder", "chime_observer"):
        assert 0 < rows[name]["assignment"] < 1
        assert 0 < rows[name]["histogram"] < 1
    assert rows["chime_scorer"]["assignment"] == 0, "its states have codes"
    assert 0 < rows["chime_scorer"]["histogram"] < 0.5
