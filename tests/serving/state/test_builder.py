import shutil
from pathlib import Path

import numpy as np
import pytest

from serving.state import url_of
from serving.state.builder import build, latest, show
from serving.state.source import EncoderError
from serving.state.states import Entry
from serving.state.store import StateStore
from tests.serving import state_models as tiny


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for version in ("2", "10"):
        tiny.write_state_model(tmp_path / "models" / "user_state" / version)
    return tmp_path / "models"


def ignore(done: int, total: int) -> None: ...


def test_every_user_of_the_newest_version_gets_a_state(repository: Path, tmp_path: Path):
    steps: list[tuple[int, int]] = []
    assert (
        build(
            repository, url_of(tmp_path / "state"), tiny.encode, lambda done, total: steps.append((done, total))
        ).written
        == 8
    )
    assert steps == [(4, 8), (8, 8)]
    with StateStore(tmp_path / "state") as store:
        assert store.stat().entries == {("user_state", tiny.STAMP): 8}
        assert store.users("user_state", tiny.STAMP) == tiny.USERS.tolist()
    for user in tiny.USERS.tolist():
        shown = show(repository, url_of(tmp_path / "state"), user)
        assert shown.outcome == "hit"
        assert shown.state is not None
        np.testing.assert_array_equal(shown.state["keys"], tiny.keys_of(user))


def test_only_what_is_missing_or_out_of_date_is_computed_again(repository: Path, tmp_path: Path):
    build(repository, url_of(tmp_path / "state"), tiny.encode, ignore)
    assert build(repository, url_of(tmp_path / "state"), tiny.encode, ignore).written == 0
    lookup = latest(repository).question(8).lookup
    with StateStore(tmp_path / "state") as store:
        store.put(Entry(lookup._replace(digest=b"another "), {"keys": np.zeros(1, np.float32)}))
    assert show(repository, url_of(tmp_path / "state"), 8).outcome == "stale"
    assert build(repository, url_of(tmp_path / "state"), tiny.encode, ignore).written == 1
    assert show(repository, url_of(tmp_path / "state"), 8).outcome == "hit"


def test_an_encoder_of_another_version_writes_nothing(repository: Path, tmp_path: Path):
    with pytest.raises(EncoderError, match="has stamp 5"):
        build(repository, url_of(tmp_path / "state"), lambda inputs: tiny.encode(inputs, stamp=5), ignore)
    assert show(repository, url_of(tmp_path / "state"), 8).outcome == "miss"


def test_a_repository_without_user_states_says_so(tmp_path: Path):
    with pytest.raises(ValueError, match="has no user-state model: export one first"):
        latest(tmp_path)


def test_of_several_models_with_user_states_one_must_be_named(repository: Path):
    shutil.copytree(repository / "user_state", repository / "other_state")
    with pytest.raises(ValueError, match=r"2 models with user states \(other_state, user_state\): name one"):
        latest(repository)
    assert latest(repository, "other_state").model == "other_state"
    with pytest.raises(ValueError, match="has no user-state model 'third'"):
        latest(repository, "third")
