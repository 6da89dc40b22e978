"""`recserve serve --follow` says what the server serves, also where releases appear while it looks."""

import json
import re
import shutil
from pathlib import Path

import pytest

from serving import follower
from serving.admin import Admin
from serving.follower import Follower
from serving.rollout import Release, roll_out, served
from serving.server import TritonServer

MODELS = ("lrea", "lrea_encoder", "lrea_scorer", "lrea_state")


def appear(two_releases: Path, live: Path, number: int) -> None:
    """The second of the two releases is there as the one with this number."""
    for model in MODELS:
        shutil.copytree(two_releases / model / "2", live / model / str(number))


class Following:
    """A follower whose words can be read."""

    def __init__(self, live_server: TritonServer) -> None:
        self._said: list[str] = []
        self._follower = Follower(live_server, self._said.append)

    def look(self) -> str:
        """What is said of one look at the repository."""
        self._said.clear()
        self._follower.look()
        return "".join(self._said)


@pytest.mark.slow(20)
@pytest.mark.triton_server
def test_what_is_said_is_what_the_server_serves_while_releases_appear_in_between(
    live: Path, live_server: TritonServer, two_releases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another release appears after the look at the repository and before the roll-out: the moment that was missed."""

    def published_just_before(client: Admin, repository: Path, target: str, **options: object) -> Release | None:
        if later:
            appear(two_releases, live, later.pop())
        return roll_out(client, repository, target, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(follower, "roll_out", published_just_before)
    later = [3]
    following = Following(live_server)
    assert following.look() == "", "nothing is new"
    appear(two_releases, live, 2)
    versions = []
    while said := following.look():
        numbers = dict(re.findall(r"(\w+) (\d+)", said.removeprefix("serving ")))
        with live_server.client() as client:
            assert {name: int(number) for name, number in numbers.items()} == served(client).versions
        assert set(numbers) == set(MODELS)
        versions.append(numbers["lrea"])
    assert versions == ["2", "3"], "what appears meanwhile is for the next look"


@pytest.mark.triton_server
def test_a_release_of_which_only_a_part_is_there_is_not_served(
    live: Path, live_server: TritonServer, two_releases: Path
) -> None:
    appear(two_releases, live, 2)
    hidden = live / "lrea" / ".2.hidden"
    (live / "lrea" / "2").rename(hidden)
    following = Following(live_server)
    assert following.look() == ""
    with live_server.client() as client:
        assert served(client).versions == dict.fromkeys(MODELS, 1)
    hidden.rename(live / "lrea" / "2")
    assert following.look() == f"serving {', '.join(f'{name} 2' for name in MODELS)}"


def test_the_newest_release_is_one_that_is_there_as_a_whole(live: Path) -> None:
    for version in (2, 3):
        for model in MODELS[:version]:
            copied = Path(shutil.copytree(live / model / "1", live / model / str(version)))
            manifest = json.loads((copied / "manifest.json").read_text())
            assert manifest["release"] == sorted(MODELS)
    assert Release.wanted(live, "cpu").versions == dict.fromkeys(MODELS, 1)
    for model in MODELS[2:]:
        shutil.copytree(live / model / "1", live / model / "2", dirs_exist_ok=True)
    assert Release.wanted(live, "cpu").versions == dict.fromkeys(MODELS, 2)
