"""`recserve rank`: the best titles for a user, from the running server."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from rich.console import Console

from recserve.commands.command import Command, show, table
from recserve.runs import load_data
from serving.client import Client
from training.data.fields import FieldData
from training.data.ranking import RankingData
from training.registry import system

TASTE = 5
MODELS = {"lrea": "lrea_ranker", "dea": "dea_ranker"}
"""The model that ranks for a system, where it is not called as the system is."""


class Ranked(NamedTuple):
    """A title with its score."""

    item: int
    title: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Rank(Command):
    """Rank what a user has not seen yet."""

    user: int
    """User id, as the data set has it."""
    top: int = 10
    """Titles to print."""
    candidates: tuple[int, ...] = ()
    """Item ids to rank; all that the user has not rated by default."""
    url: str = "127.0.0.1:8001"
    """gRPC address of the server."""
    system: str = "lrea"
    """lrea, dea or matt_<base>: whose served model ranks."""
    dataset: Literal["ml-100k-fields", "hin-amazon"] | None = None
    """The data set that the served model was trained on; the system's own by default."""
    request_key: int = 0
    """matt_<base>: another key draws other paths."""
    deadline_s: float = 5.0
    """Seconds that the server has to answer."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"--top is {self.top}; it must be at least 1")
        if system(self.system).servables is None:
            raise ValueError(f"--system {self.system} has no served models; choose lrea, dea or matt_<base>")
        if self.dataset is not None and self.system == "lrea":
            raise ValueError("--dataset chooses the set of a system over fields; lrea is served on ml-100k alone")

    def run(self) -> int:
        chosen = system(self.system)
        config = chosen.config() if self.dataset is None else chosen.config(dataset=self.dataset)
        data = load_data(chosen, config)
        with Client(self.url, deadline_s=self.deadline_s) as client:
            key = self.request_key if self.system.startswith("matt_") else None
            model = MODELS.get(self.system, self.system)
            ranked = rank(client, data, self.user, self.candidates, model=model, request_key=key)[: self.top]
        show_ranking(self.console, data, self.user, ranked)
        taste = [{"item": item, "title": data.titles[item]} for item in data.liked(self.user, TASTE)]
        self.emit({"user": self.user, "liked": taste, "ranked": [one._asdict() for one in ranked]})
        return 0


def rank(
    client: Client,
    data: RankingData | FieldData,
    user: int,
    candidates: tuple[int, ...] = (),
    *,
    model: str = "lrea_ranker",
    request_key: int | None = None,
) -> list[Ranked]:
    """Candidates (by default every title the user has not rated) by score descending, then id ascending."""
    ids = np.array(candidates or unseen(data, user), np.int64)
    request = {"user_id": np.array([[user]], np.int64), "candidates": ids[None]}
    if request_key is not None:
        request["request_key"] = np.array([[request_key]], np.int64)
    scores = client.infer(model, request)["scores"][0]
    order = np.lexsort((ids, -scores))
    return [Ranked(int(ids[n]), data.titles.get(int(ids[n]), "unknown"), float(scores[n])) for n in order]


def unseen(data: RankingData | FieldData, user: int) -> list[int]:
    """Ids of the titles that the user has not rated, each once: MovieLens-100k has 19 of them under two ids."""
    seen = {data.titles.get(item) for item in data.seen(user)}
    first_id = {title: item for item, title in sorted(data.titles.items(), reverse=True)}
    return sorted(item for title, item in first_id.items() if title not in seen)


def show_ranking(console: Console, data: RankingData | FieldData, user: int, ranked: list[Ranked]) -> None:
    """The user's recent likes, then the ranking."""
    liked = ", ".join(dict.fromkeys(data.titles[item] for item in data.liked(user, TASTE))) or "nothing yet"
    console.print(f"\n[bold]user {user}[/] lately liked: {liked}", highlight=False)
    rows = [[place, one.title, one.item, one.score] for place, one in enumerate(ranked, 1)]
    show(console, table(f"best unseen titles for user {user}", ["", "title", "item", "score"], rows))
