"""What a prune takes away, and what it never does."""

import shutil
from pathlib import Path

import pytest

from export.prune import Version, prunable, remove, size, sweep
from serving import releases
from serving.versions import versions

MODELS = ("lrea", "lrea_encoder", "lrea_scorer", "lrea_state")


@pytest.fixture
def live(repository: Path, tmp_path: Path) -> Path:
    """LREA in versions 1 to 5."""
    copied = Path(shutil.copytree(repository, tmp_path / "live"))
    for model in MODELS:
        for version in range(2, 6):
            shutil.copytree(copied / model / "1", copied / model / str(version))
    return copied


def gone(live: Path, keep: int, *loaded: Version) -> set[int]:
    """The releases that may go, each with all of its models."""
    found = prunable(live, keep, loaded)
    assert {one.model for one in found} in (set(), {*MODELS})
    assert len(found) == len(MODELS) * len({one.number for one in found})
    return {one.number for one in found}


def test_the_newest_stay_and_what_is_served_what_was_before_and_what_is_loaded(live: Path) -> None:
    assert gone(live, 3) == {1, 2}
    assert gone(live, 1) == {1, 2, 3}, "4 was before 5, the newest"
    releases.change(live, "lrea", lambda now: now.at(1, "promoted"))
    assert gone(live, 3) == {2}, "1 is served, and 5 was before"
    assert gone(live, 1, Version("lrea_scorer", 3)) == {2, 4}


def test_what_clients_ask_goes_before_its_parts(live: Path) -> None:
    assert [one.model for one in prunable(live, 3, [])][:2] == ["lrea", "lrea_encoder"]


def test_a_removed_version_is_gone_as_a_whole_and_what_a_cut_off_removal_left_is_swept(live: Path) -> None:
    old = prunable(live, 4, [])
    assert sum(size(live, one) for one in old) > 0
    for one in old:
        remove(live, one)
    assert {model: versions(live / model) for model in MODELS} == {model: [2, 3, 4, 5] for model in MODELS}
    assert not [*live.glob("*/.*")]
    (live / "lrea" / ".2.pruned").mkdir()
    sweep(live)
    assert not [*live.glob("*/.*")]


def test_with_its_last_version_a_model_goes_as_no_server_starts_over_one_without(live: Path) -> None:
    for version in (1, 2, 3, 4, 5):
        remove(live, Version("lrea_state", version))
    assert sorted(path.name for path in live.iterdir()) == ["lrea", "lrea_encoder", "lrea_scorer"]
    assert not [*live.glob("*/.*")]
