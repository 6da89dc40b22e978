"""`recserve rank`: the best titles for a user, from the running server."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rich.console import Console

from recserve.commands.command import Command, show, table
from serving.client import Client
from training.data import movielens
from training.data.ranking import RankingData

TASTE = 5


class Ranked(NamedTuple):
    """A title with its score."""

    item: int
    title: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Rank(Command):
    """Rank what a user has not seen yet."""

    user: int
    top: int = 10
    candidates: tuple[int, ...] = ()
    """Item ids to rank; all that the user has not rated by default."""
    url: str = "127.0.0.1:8001"
    """gRPC address of the server."""
    model: str = "lrea_ranker"
    deadline_s: float = 5.0

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"--top is {self.top}; it must be at least 1")

    def run(self) -> int:
        data = movielens.load()
        with Client(self.url, deadline_s=self.deadline_s) as client:
            ranked = rank(client, data, self.user, self.candidates, model=self.model)[: self.top]
        show_ranking(self.console, data, self.user, ranked)
        taste = [{"item": item, "title": data.titles[item]} for item in data.liked(self.user, TASTE)]
        self.emit({"user": self.user, "liked": taste, "ranked": [one._asdict() for one in ranked]})
        return 0


def rank(
    client: Client, data: RankingData, user: int, candidates: tuple[int, ...] = (), *, model: str = "lrea_ranker"
) -> list[Ranked]:
    """Candidates (by default every title the user has not rated) by score descending, then id ascending."""
    chosen = candidates or tuple(sorted(set(data.titles) - data.seen(user)))
    ids = np.array(chosen, np.int64)
    answer = client.infer(model, {"user_id": np.array([[user]], np.int64), "candidates": ids[None]})
    scores = answer["scores"][0]
    order = np.lexsort((ids, -scores))
    return [Ranked(int(ids[n]), data.titles.get(int(ids[n]), "unknown"), float(scores[n])) for n in order]


def show_ranking(console: Console, data: RankingData, user: int, ranked: list[Ranked]) -> None:
    """The user's recent likes, then the ranking."""
    liked = ", ".join(data.titles[item] for item in data.liked(user, TASTE)) or "nothing yet"
    console.print(f"\n[bold]user {user}[/] lately liked: {liked}", highlight=False)
    rows = [[place, one.title, one.item, one.score] for place, one in enumerate(ranked, 1)]
    show(console, table("best unseen titles", ["", "title", "item", "score"], rows))
