"""Which titles `recserve rank` takes, and what it prints of them."""

import io
from dataclasses import replace

import pytest
from recserve.commands.rank import Ranked, show_ranking, unseen
from rich.console import Console
from training.data.ranking import RankingData
from training.data.synthetic import planted

USER = 1


@pytest.fixture
def data() -> RankingData:
    """Of the titles that the user has not rated the first two share theirs, and another one is that of a rated one."""
    made = planted()
    seen = made.seen(USER)
    first, second, third, *_ = (item for item in made.titles if item not in seen)
    newest, older = made.liked(USER, 2)
    twice = {second: made.titles[first], third: made.titles[newest], older: made.titles[newest]}
    return replace(made, titles=made.titles | twice)


def test_a_title_under_two_ids_is_a_candidate_once_and_never_where_one_of_them_is_rated(data: RankingData) -> None:
    untouched = [item for item in data.titles if item not in data.seen(USER)]
    first, second, _, *rest = untouched
    assert data.titles[first] == data.titles[second]
    assert unseen(data, USER) == [first, *rest]


def test_no_title_and_no_heading_is_printed_twice(data: RankingData) -> None:
    console = Console(file=io.StringIO(), width=300)
    for user in (USER, 2):
        ranked = [Ranked(item, data.titles[item], 0.5) for item in unseen(data, user)]
        show_ranking(console, data, user, ranked)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    liked, heading, *_ = printed.splitlines()[1:]
    titles = liked.partition(": ")[2].split(", ")
    assert len(titles) == len(set(titles)) == 4
    assert heading.strip() == "best unseen titles for user 1"
    assert printed.count("best unseen titles for user 2") == 1
