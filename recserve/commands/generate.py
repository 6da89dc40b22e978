"""`recserve generate`: what a user may want next, from the running server: items, how they were reached, and why."""

from dataclasses import asdict, dataclass

import numpy as np

from recserve.commands.command import Command, show, table
from recserve.served import Served, as_ids, ask, data_of
from serving.client import Client
from training.data.sequences import SequenceData
from training.generate_then_rank import GENERATOR_SCORES, NAME, SCORES

SYSTEM = "reg4rec"
_SHOWN_HISTORY = 5


@dataclass(frozen=True, kw_only=True)
class Generated:
    """An item, and the path of tokens that led to it."""

    item: int
    title: str
    score: float
    """Logarithm of the probability of its set of tokens."""
    ranker_score: float | None
    path: list[str]
    """codebook:word, in the order of choice."""
    categories: list[int]
    """What the model expected after each token."""


@dataclass(frozen=True, kw_only=True)
class Generate(Command):
    """Generate the next items for a user, or for a history."""

    user: int | None = None
    """User id, as the data set has it; all of the user's items are the history, which may be empty."""
    history: tuple[int, ...] = ()
    """Item ids, oldest first, in place of a user's."""
    top: int = 10
    """Items to print; there are at most as many as the model has beams."""
    theta: float = 0.5
    """Share of adjacent steps that must agree in category where paths are pruned; 0 switches pruning off."""
    model: str | None = None
    """The served model that generates; the system's by default."""
    system: str | None = None
    """System whose model generates: reg4rec (the default) or reg4rec_<tokenizer>."""
    dataset: str | None = None
    """Data set that the model must be of. Users and titles are those of the data set that the server names."""
    then_rank: bool = False
    """Order by what lrea_ranker says of the items for --user, from the served generate_then_rank."""
    url: str = "127.0.0.1:8001"
    """gRPC address of the server."""
    deadline_s: float = 5.0
    """Seconds that the server has to answer."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"--top is {self.top}; it must be at least 1")
        if self.user is None and not self.history:
            raise ValueError("say for whom: --user ID, or --history ITEM ... with at least one item")
        if self.user is not None and self.history and not self.then_rank:
            raise ValueError("--user and --history are both given; choose one")
        if self.then_rank and self.user is None:
            raise ValueError("--then-rank ranks for a user; add --user ID")
        if self.system is not None and not self.system.startswith("reg4rec"):
            raise ValueError(f"--system {self.system} does not generate; choose reg4rec or reg4rec_<tokenizer>")
        as_ids("--history", *self.history)
        as_ids("--user", *([] if self.user is None else [self.user]))

    def run(self) -> int:
        model = self.model or (NAME if self.then_rank else self.system or SYSTEM)
        with Client(self.url, deadline_s=self.deadline_s) as client:
            served = ask(client, model, self.system)
            data = self._data(served)
            history = self._history(data)
            answer = {name: values[0] for name, values in client.infer(model, self._request(history)).items()}
        generated, pruned = self._generated(answer, data)[: self.top], float(answer["pruned"][0])
        self._show(history, generated, pruned, data)
        self.emit({"history": list(history), "pruned": pruned, "generated": [asdict(one) for one in generated]})
        return 0

    def _data(self, served: Served) -> SequenceData:
        """The model's data set. Raises ValueError for a model that does not generate."""
        wanted = {"history", "theta", *(["user_id"] if self.then_rank else [])}
        if served.inputs != wanted:
            asked = ", ".join(sorted(served.inputs))
            raise ValueError(f"model '{served.model}' asks for {asked}, not for {', '.join(sorted(wanted))}")
        data = data_of(served, self.dataset)
        if not isinstance(data, SequenceData):
            raise ValueError(f"model '{served.model}' is of ratings ({data.schema.dataset}); generate needs sequences")
        return data

    def _history(self, data: SequenceData) -> tuple[int, ...]:
        return self.history or (() if self.user is None else tuple(data.sequence(self.user).tolist()))

    def _request(self, history: tuple[int, ...]) -> dict[str, np.ndarray]:
        request = {"history": np.array([history], np.int64), "theta": np.array([[self.theta]], np.float32)}
        return request | ({"user_id": np.array([[self.user]], np.int64)} if self.then_rank else {})

    def _generated(self, answer: dict[str, np.ndarray], data: SequenceData) -> list[Generated]:
        scores = answer[GENERATOR_SCORES if self.then_rank else SCORES]
        found = [
            Generated(
                item=int(item),
                title=data.titles.get(int(item), "unknown"),
                score=float(scores[place]),
                ranker_score=float(answer[SCORES][place]) if self.then_rank else None,
                path=[f"{codebook}:{word}" for codebook, word in answer["paths"][place]],
                categories=answer["categories"][place].tolist(),
            )
            for place, item in enumerate(answer["items"])
            if item > 0
        ]
        return sorted(found, key=lambda one: -(one.ranker_score or 0.0)) if self.then_rank else found

    def _show(self, history: tuple[int, ...], found: list[Generated], pruned: float, data: SequenceData) -> None:
        newest = ", ".join(data.titles.get(item, f"item {item}") for item in history[::-1][:_SHOWN_HISTORY])
        counted = "one item" if len(history) == 1 else f"newest of {len(history)} items"
        said = f"{counted} ({data.schema.dataset}): {newest}" if history else f"no items yet ({data.schema.dataset})"
        self.console.print(f"\n{said}", highlight=False)
        unknown = sum(not 0 < item < len(data.categories) for item in history)
        if unknown:
            self.console.print(f"[yellow]{unknown} of them not known[/] to {data.schema.dataset}", highlight=False)
        rows = [
            [
                place,
                one.title,
                one.item,
                one.score,
                *([one.ranker_score] if self.then_rank else []),
                " ".join(one.path),
                " ".join(map(str, one.categories)),
            ]
            for place, one in enumerate(found, 1)
        ]
        ranker = ["ranker"] if self.then_rank else []
        columns = ["", "title", "item", "log p", *ranker, "path (codebook:word)", "categories"]
        if len(found) < self.top:
            why = "paths to items that were just read, and further paths to one item, are left out"
            self.console.print(f"{len(found)} items where {self.top} were asked for: {why}", highlight=False)
        show(self.console, table(f"next items, {pruned:.0%} of the checked paths pruned", columns, rows))
