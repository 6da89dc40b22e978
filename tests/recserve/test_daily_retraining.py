"""docs/daily-retraining.md, command by command as it stands there, on a small log and under a light load."""

import dataclasses
import shlex
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadtest.served import Served
from recserve.cli import command, main
from recserve_client import Client
from serving import releases
from tests.pages import text_of
from tests.recserve.crowd import answers, crowd
from tests.recserve.daily_log import log

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(40)]
PAGE = "docs/daily-retraining.md"


def commands() -> list[list[str]]:
    """The words behind `recserve` of each line of the page's blocks."""
    blocks = textwrap.dedent(text_of(PAGE).replace("   ```", "```")).split("```sh\n")[1:]
    lines = [line.strip() for block in blocks for line in block.partition("```")[0].splitlines()]
    return [words[1:] for line in lines if (words := shlex.split(line))]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page's commands run: a folder with the log up to two days."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECSERVE_CACHE", str(tmp_path / "cache"))
    for day in (10, 11):
        log(tmp_path / f"log-2024-03-{day}", day - 1)
    return tmp_path


@pytest.fixture
def serve(shop: Path) -> Iterator[Callable[[list[str]], Served]]:
    """Starts `recserve serve` with the words of the page."""
    running: list[Served] = []

    def start(words: list[str]) -> Served:
        repository = words[words.index("--repository") + 1]
        options = [word for word in words[1:] if word not in ("--repository", repository)]
        running.append(Served(shop / repository, *options, "--drain-s", 0))
        assert running[0].address.url
        return running[0]

    yield start
    for one in running:
        one.__exit__()


def run(words: list[str], url: str) -> int:
    """Of a command that asks a server, that at `url`."""
    asks = "url" in {field.name for field in dataclasses.fields(command(words))}
    return main([*words, *(["--url", url] if asks else [])])


def test_a_day_as_the_page_has_it_and_a_run_that_is_worse(
    shop: Path, serve: Callable[[list[str]], Served], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = commands()
    (place,) = (number for number, words in enumerate(lines) if words[0] == "serve")
    for words in lines[:place]:
        assert main(words) == 0, words
    server = serve(lines[place])
    url, live = server.address.url, shop / "live"
    with Client(url, deadline_s=30.0) as client, crowd(url, live / "fm", 2) as clients:
        known = {1: answers(client, "fm", clients.requests, 1)}
        for words in lines[place + 1 :]:
            assert run(words, url) == 0, words
            if words[:2] == ["releases", "promote"]:
                known[2] = answers(client, "fm", clients.requests, 2)
        printed = capsys.readouterr().out
        assert "was measured on another test part; it is measured again on that of runs/fm/shop-5869583a" in printed
        assert client.metadata("fm").versions == ("1",), "the day ends with a roll-back"
        worse = "train fm --dataset shop --until 2024-03-11 --runs other --config.learning-rate 1e-9 --json"
        assert main(worse.split()) == 0
        (bad,) = (shop / "other" / "fm").iterdir()
        words = ["releases", "publish", str(bad), "--repository", "live", "--not-worse-than", "2"]
        capsys.readouterr()
        assert main(words) == 1
        assert "is worse than fm 2: AUC 0." in " ".join(capsys.readouterr().out.split())
    assert releases.numbers(live, "fm") == [1, 2]
    assert clients.errors == []
    assert set(clients.given_by(known)) == {1, 2}
