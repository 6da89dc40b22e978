"""`recserve rank`: the best titles for a user, from the running server."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rich.console import Console

from recserve.commands.command import Command, show, table
from recserve.served import Served, as_ids, ask, data_of
from serving.client import Client
from training.data.fields import FieldData
from training.data.ranking import RankingData
from training.data.sequences import SequenceData
from training.registry import system

TASTE = 5
SYSTEM = "lrea"
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
    model: str | None = None
    """The served model that ranks; the system's by default."""
    system: str | None = None
    """System whose model ranks: lrea (the default), dea or matt_<base>."""
    dataset: str | None = None
    """Data set that the model must be of. Users and titles are those of the data set that the server names."""
    request_key: int = 0
    """Key of the draw of a matt_<base>: another key draws other paths."""
    deadline_s: float = 5.0
    """Seconds that the server has to answer."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"--top is {self.top}; it must be at least 1")
        if self.system is not None and system(self.system).servables is None:
            raise ValueError(f"--system {self.system} has no served models; choose lrea, dea or matt_<base>")
        as_ids("--user", self.user)
        as_ids("--candidates", *self.candidates)
        as_ids("--request-key", self.request_key)

    def run(self) -> int:
        chosen = self.system or SYSTEM
        with Client(self.url, deadline_s=self.deadline_s) as client:
            served = ask(client, self.model or MODELS.get(chosen, chosen), self.system)
            data = self._data(served)
            key = self.request_key if "request_key" in served.inputs else None
            ranked = rank(client, data, self.user, self.candidates, model=served.model, request_key=key)[: self.top]
        show_ranking(self.console, data, self.user, ranked)
        taste = [{"item": item, "title": data.titles[item]} for item in data.liked(self.user, TASTE)]
        rows = [one._asdict() for one in ranked]
        self.emit({"dataset": data.schema.dataset, "user": self.user, "liked": taste, "ranked": rows})
        return 0

    def _data(self, served: Served) -> RankingData | FieldData:
        """The model's data set. Raises ValueError for a model that does not rank."""
        if served.inputs - {"request_key"} != {"user_id", "candidates"}:
            asked = ", ".join(sorted(served.inputs))
            raise ValueError(f"model '{served.model}' asks for {asked} and so does not rank; name another --model")
        data = data_of(served, self.dataset)
        if isinstance(data, SequenceData):
            raise ValueError(f"model '{served.model}' is of sequences ({data.schema.dataset}); rank needs ratings")
        return data


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
