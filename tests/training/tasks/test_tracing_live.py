"""A tracing model on real servers that share a store: answers that are reported count once, whatever happens between,
and what is kept of a student answers as the model that is sent the whole sequence. `recserve ask` reads the same."""

import asyncio
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from export.histories import load
from loadtest.live.valkey_server import valkey_server
from recserve.cli import main
from recserve_client import AsyncClient, Client, Event, Suggested
from serving.histories.histories import Histories
from serving.histories.opening import open_histories
from serving.server import ServerOptions, TritonServer
from tests.recserve.school import NAMES, models, registered
from training.interactions import Interactions, of_user

pytestmark = [pytest.mark.slow(15), pytest.mark.triton_server]
ASKED = ["q05", "q11", "q17", "q30"]


class School(NamedTuple):
    """Two servers that share histories and states, and the data set that their models are of."""

    data: Interactions
    servers: tuple[TritonServer, TritonServer]


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    root = tmp_path_factory.mktemp("school")
    with registered(root) as data, ExitStack() as stack:
        repository = models(tmp_path_factory, data)
        valkey = stack.enter_context(valkey_server(root / "valkey"))
        for _ in load(Histories(open_histories(valkey.url)), data):
            pass
        state = f"valkey://127.0.0.1:{valkey.port}/1"
        logs = (root / "log1", root / "log2")
        one, two = (
            TritonServer(repository, ServerOptions(log=log, state=state, histories=valkey.url, check_golden=False))
            for log in logs
        )
        yield School(data, (stack.enter_context(one), stack.enter_context(two)))


class Student:
    """What one has answered, as the sequence says it."""

    def __init__(self, data: Interactions, name: str) -> None:
        own = of_user(data.events, data.dense("user", name))
        self.name = name
        self.history = [str(one) for one in data.raws("item", own["item"].to_numpy())]
        self.responses = [int(one) for one in own["label"]]

    def answered(self, client: Client, item: str, right: int) -> tuple[int, int]:
        """Reports an answer; how many were applied, and were known already."""
        self.history.append(item)
        self.responses.append(right)
        return self.again(client)

    def again(self, client: Client) -> tuple[int, int]:
        """Reports the newest answer."""
        number = len(self.history)
        event = Event(self.history[-1], self.responses[-1], 1_700_100_000 + number, event_id=f"answer {number}")
        done = client.observe(self.name, [event], dataset="school")
        assert not done.refused
        return done.applied, done.duplicates

    def is_known(self, client: Client) -> None:
        """The kept state answers as the sequence does: the same order and the same probabilities."""
        kept = client.next_question(self.name, ASKED, model="pfa_of_user", dataset="school")
        said = client.next_question(
            self.name, ASKED, model="pfa", history=self.history, responses=self.responses, dataset="school"
        )
        assert kept.questions == said.questions
        np.testing.assert_allclose(kept.probabilities, said.probabilities, atol=1e-5)


def test_an_answer_counts_once_on_both_servers_and_over_kill_9(school: School) -> None:
    first, second = (Client(one.url, deadline_s=30.0) for one in school.servers)
    anna, newcomer = Student(school.data, "s04"), Student(school.data, "nobody yet")
    for student in (anna, newcomer):
        student.is_known(first)
        before = first.next_question(student.name, ASKED, model="pfa_of_user").probabilities
        assert student.answered(first, "q05", 0) == (1, 0)
        student.is_known(second)
        assert second.next_question(student.name, ASKED, model="pfa_of_user").probabilities != before
        assert student.again(second) == (0, 1), "sent twice, to another server"
        student.is_known(first)
    assert anna.answered(first, "q11", 1) == (1, 0)
    school.servers[0].process.kill()
    school.servers[0].process.wait()
    assert anna.again(second) == (0, 1), "sent again, as its answer may have been lost"
    assert newcomer.answered(second, "q17", 1) == (1, 0)
    school.servers[0].restart()
    for student in (anna, newcomer):
        student.is_known(first)
        student.is_known(second)
    first.close()
    second.close()


def test_students_who_answer_at_once_each_have_their_own_state_after_every_answer(school: School) -> None:
    urls = [one.url for one in school.servers]

    def lesson(number: int) -> int:
        student, random = Student(school.data, f"s{number:02}"), np.random.default_rng(number)
        with Client(urls, deadline_s=30.0) as client:
            for _ in range(5):
                item = str(random.choice(["q01", "q05", "q09", "q30"]))
                assert student.answered(client, item, int(random.integers(2))) == (1, 0)
                student.is_known(client)
        return number

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(lesson, range(10, 22))] == [*range(10, 22)]


def test_a_person_asks_both_forms_and_reads_the_same(
    school: School, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(model: str, *words: str) -> dict:
        capsys.readouterr()
        asked = ["ask", model, "--student", "s07", "--url", school.servers[1].url, "--deadline-s", "30", "--json"]
        assert main([*asked, "--top", "99", *words]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    found = {}
    for model in ("pfa", "pfa_of_user"):
        picture = tmp_path / f"{model}.svg"
        said = ask(model, "--target", "0.7", "--explain", "--picture", str(picture))
        questions, mastery, why, changed = said["answers"]
        assert {row["concept"] for row in mastery["rows"]} == {*NAMES}
        gaps = [abs(row["probability"] - 0.7) for row in questions["rows"]]
        assert gaps == sorted(gaps)
        assert len(gaps) == 40
        assert questions["lines"][1].startswith(f"ask next: item {questions['rows'][0]['item']}, probability 0.")
        assert why["lines"][1].startswith("had this answer been ")
        assert changed["rows"]
        assert "adding" in picture.read_text()
        found[model] = [(row["item"], pytest.approx(row["probability"], abs=1e-5)) for row in questions["rows"]]
    assert found["pfa"] == found["pfa_of_user"]
    asked = [item for item, _ in found["pfa"]][::-1]

    async def next_question() -> Suggested:
        async with AsyncClient(school.servers[0].url) as client:
            return await client.next_question("s07", asked, model="pfa_of_user", target=0.7, dataset="school")

    with Client(school.servers[0].url) as client:
        near = client.next_question("s07", asked, model="pfa_of_user", target=0.7)
    assert near.questions[0] == asked[-1]
    assert asyncio.run(next_question())[:2] == near[:2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("pfa_of_user --student s01 --user s01", "--user and --student are both given; choose one"),
        ("pfa_of_user --student s01 --target 1.5", "--target is 1.5; it must be a probability, from 0 to 1"),
        ("pfa_of_user --student s01 --picture course.txt", "--picture is course.txt; its name must end in one of"),
        ("pfa_of_user --student s01 --history q01", "--student and --history are both given; choose one"),
        ("pfa_of_user", "say which student: --student ID"),
        ("pfa_of_user --student x --picture x.svg", "--picture: student x has no answers in school"),
        ("pfa_state --student s01", "'pfa_state' is a part of 'pfa_of_user'; ask 'pfa_of_user'"),
    ],
)
def test_what_cannot_be_asked_of_a_student_is_refused(
    school: School, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    assert main(["ask", *words.split(), "--url", school.servers[1].url, "--deadline-s", "30"]) == 2
    assert said in capsys.readouterr().err
    assert not os.path.exists("x.svg")
