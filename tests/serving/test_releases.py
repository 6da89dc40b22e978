"""`releases.json`: what is served under each name, what was before, and what configurations say of it."""

import json
import shutil
from pathlib import Path

import pytest

from serving import releases
from serving.configs import read_file
from serving.releases import Refused, Standing
from serving.rollout import Release
from serving.versions import served_version
from tests.sealing import reseal

MODELS = ("lrea", "lrea_encoder", "lrea_scorer", "lrea_state")


@pytest.fixture
def live(repository: Path, tmp_path: Path) -> Path:
    """LREA in versions 1, 2 and 3."""
    copied = Path(shutil.copytree(repository, tmp_path / "live"))
    for model in MODELS:
        for version in ("2", "3"):
            shutil.copytree(copied / model / "1", copied / model / version)
    return copied


def chosen(live: Path, version: int) -> Standing:
    return releases.change(live, "lrea", lambda now: now.at(version, "promoted"))


def test_where_nobody_chose_the_newest_is_served_and_all_others_were_before(live: Path) -> None:
    now = releases.standing(live, "lrea")
    assert (now.served, now.before, now.why) == (3, (2, 1), "the newest")
    assert not (live / "releases.json").exists()
    assert Release.wanted(live, "cpu").versions == dict.fromkeys(MODELS, 3)


def test_what_is_chosen_is_served_by_all_models_of_the_release_and_by_every_configuration(live: Path) -> None:
    chosen(live, 1)
    assert Release.wanted(live, "cpu").versions == dict.fromkeys(MODELS, 1)
    files = [*live.glob("*/config.pbtxt"), *live.glob("*/configs/cpu.pbtxt")]
    assert len(files) == 2 * len(MODELS)
    assert {tuple(read_file(path).version_policy.specific.versions) for path in files} == {(1,)}
    assert served_version(live / "lrea").name == "1"


def test_configurations_say_what_the_served_version_was_made_of(live: Path) -> None:
    for model in MODELS:
        path = live / model / "1" / "manifest.json"
        said = json.loads(path.read_text())
        said["identity"]["schema_digest"] = "0123"
        path.write_text(json.dumps(said))
    digests = []
    for version in (1, 2):
        chosen(live, version)
        for path in (live / "lrea" / "config.pbtxt", live / "lrea_scorer" / "configs" / "cpu.pbtxt"):
            digests.append(read_file(path).parameters["schema_digest"].string_value)
    assert digests[0] == digests[1] == "0123"
    assert digests[2] == digests[3] != "0123"


def test_a_roll_back_goes_back_and_never_forward(live: Path) -> None:
    chosen(live, 1)
    chosen(live, 2)
    now = chosen(live, 3)
    assert (now.served, now.before) == (3, (2, 1))
    for expected in ((2, (1,)), (1, ())):
        now = releases.change(live, "lrea", lambda now: now.back_at(now.before[0], "rolled back"))
        assert (now.served, now.before) == expected
    now = chosen(live, 3)
    assert (now.served, now.before) == (3, (1,))


def test_a_refusal_is_told_and_forgotten_with_the_next_choice(live: Path) -> None:
    chosen(live, 2)
    releases.change(live, "lrea", lambda now: now.back_at(1, "refused", Refused(2, "it is wrong")))
    assert releases.read(live)["lrea"].refused == (2, "it is wrong")
    assert chosen(live, 3).refused is None


def test_a_name_of_no_release_is_refused_with_those_that_there_are(live: Path) -> None:
    with pytest.raises(ValueError, match="has no release 'lrea_scorer'; it has lrea"):
        chosen_of(live, "lrea_scorer")
    assert releases.names(live) == ["lrea"]


def chosen_of(live: Path, name: str) -> Standing:
    return releases.change(live, name, lambda now: now)


def test_a_chosen_release_that_is_gone_is_named_with_what_to_do(live: Path) -> None:
    chosen(live, 3)
    shutil.rmtree(live / "lrea_scorer" / "3")
    with pytest.raises(ValueError, match=r"says that lrea 3 is served, which is not there; name another with recserve"):
        Release.wanted(live, "cpu")
    chosen(live, 2)
    assert Release.wanted(live, "cpu").versions == dict.fromkeys(MODELS, 2)
    (live / "releases.json").write_text("no json")
    with pytest.raises(ValueError, match=r"releases.json cannot be read .* remove it, and the newest release"):
        Release.wanted(live, "cpu")


def test_of_a_model_in_two_releases_the_one_that_was_moved_last_is_served(live: Path) -> None:
    """The scorer alone as version 4 of a release of its own name, as a ranker may be beside what joins it."""
    other = live / "lrea_scorer" / "4"
    shutil.copytree(live / "lrea_scorer" / "1", other)
    said = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**said, "whole": "lrea_scorer", "release": ["lrea_scorer"]}))
    reseal(live)
    chosen(live, 3)
    releases.change(live, "lrea_scorer", lambda now: now)
    assert Release.wanted(live, "cpu").versions == dict.fromkeys(MODELS, 3) | {"lrea_scorer": 4}
    chosen(live, 2)
    assert Release.wanted(live, "cpu").versions == dict.fromkeys(MODELS, 2)


def test_releases_from_before_are_named_by_the_model_that_clients_ask(live: Path) -> None:
    for path in live.glob("*/*/manifest.json"):
        said = json.loads(path.read_text())
        del said["whole"], said["identity"]
        path.write_text(json.dumps(said))
    assert releases.names(live) == ["lrea"]
    chosen(live, 1)
    assert Release.wanted(live, "cpu").versions == dict.fromkeys(MODELS, 1)
