"""`recserve ask`: one question to a served model, whichever system and data set it is of; the server says which."""

from dataclasses import dataclass

from export.further import complete, further, further_input
from export.served import Served, data_of, find, system_of
from recserve.commands.command import Command, show_titled, table
from recserve.options import Positional
from recserve_client import ModelUnavailable
from serving.admin import Admin
from training.asking import Question, Shown, Tensors, leading, profiles
from training.interactions import Interactions
from training.system import System

_MOST = 20_000
_TITLE = 40
"""Characters of a title in a table."""
_NARROWEST = 80
"""Columns into which a table is folded at least."""


@dataclass(frozen=True, kw_only=True)
class Ask(Command):
    """Ask a served model: what a user may want of the candidates, or next, and why."""

    model: Positional[str | None] = None
    """Name of the served model; the only one by default."""
    user: str | None = None
    """User id, as the data set has it; one who is unknown has an empty history."""
    history: tuple[str, ...] = ()
    """Item ids, oldest first, in place of a user's."""
    candidates: tuple[str, ...] = ()
    """Item ids to rank; by default all that are new to the user, the most popular ones where a request may not carry
    so many."""
    set: tuple[str, ...] = ()
    """Further inputs of the model, NAME=VALUE each; missing, or 0, by default."""
    top: int = 10
    """Rows to print."""
    explain: bool = False
    """Reasons below the answer: what the data set has of user and items, or what the system itself knows."""
    dataset: str | None = None
    """Data set that the model must be of, else it is refused; by default any."""
    url: str = "127.0.0.1:8001"
    """Address of the server's gRPC port."""
    deadline_s: float = 5.0
    """Seconds that the server has to answer."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"--top is {self.top}; it must be at least 1")
        if self.user is not None and self.history:
            raise ValueError("--user and --history are both given; choose one")
        if bad := [one for one in self.set if "=" not in one]:
            raise ValueError(f"--set {bad[0]} is no NAME=VALUE")
        names = [one.split("=", 1)[0] for one in self.set]
        if twice := [name for place, name in enumerate(names) if name in names[:place]]:
            raise ValueError(f"--set {twice[0]} is said twice; say it once")

    def run(self) -> int:
        with Admin(self.url, deadline_s=self.deadline_s) as client:
            served = find(client, self.model)
            interactions = data_of(served, self.dataset)
            chosen = system_of(served)
            question = self._question(interactions, served)
            request = self._request(chosen, interactions, question, served)
            answer = client.infer(served.model, request)
            shown = chosen.task.shown(interactions, question, request, answer)
            tables = [shown._replace(rows=shown.rows[: self.top])]
            if self.explain:
                asked = leading(request, answer, self.top)
                tables += self._reasons(chosen, client, (served.model, interactions, *asked))
                if len(tables) == 1 or not tables[1].columns:
                    tables.append(profiles(interactions, self.user, self._items(tables[0])))
        for one in tables:
            self._show(one)
        self.emit(
            {
                "model": served.model,
                **served.identity._asdict(),
                "answers": [
                    {
                        "title": one.title,
                        "lines": list(one.lines),
                        "rows": [dict(zip(one.columns, row, strict=True)) for row in one.rows],
                    }
                    for one in tables
                ],
            }
        )
        return 0

    def _question(self, interactions: Interactions, served: Served) -> Question:
        return Question(
            None if self.user is None else interactions.named("user", self.user),
            tuple(interactions.named("item", item) for item in self.history),
            tuple(interactions.named("item", item) for item in self.candidates),
            served.most("candidates", _MOST),
        )

    def _request(self, chosen: System, interactions: Interactions, question: Question, served: Served) -> Tensors:
        """The task's request and further inputs. Raises ValueError naming an input that the model does not have."""
        request = chosen.task.request(interactions, question)
        if question.history and "history" in request.keys() - {*served.inputs}:
            raise ValueError(f"--history: model '{served.model}' reads what its users did itself; give --user")
        said = dict(one.split("=", 1) for one in self.set)
        inputs = further(served, request)
        if unknown := sorted({*said} - {*inputs}):
            raise ValueError(f"--set {unknown[0]}: model '{served.model}' has {', '.join(inputs) or 'nothing'} to set")
        for name, tensor in inputs.items():
            try:
                request[name] = further_input(served, interactions, tensor, said.get(name))
            except ValueError as error:
                raise ValueError(f"--set {error}") from None
        return complete(served, request)

    def _reasons(self, chosen: System, client: Admin, asked: tuple[str, Interactions, Tensors, Tensors]) -> list[Shown]:
        """What the system itself knows; a release of a control may lack the part that would say it."""
        if chosen.explained is None:
            return []
        try:
            return chosen.explained(client.infer, *asked)
        except ModelUnavailable as error:
            return [Shown((f"no reasons of its own: {error}",), "", (), [])]

    def _items(self, shown: Shown) -> list[str]:
        """What the answer is about."""
        if "item" not in shown.columns:
            return list(self.candidates)
        place = shown.columns.index("item")
        return [str(row[place]) for row in shown.rows]

    def _show(self, one: Shown) -> None:
        console = self.console
        console.print()
        for line in one.lines:
            console.print(line, highlight=False, markup=False)
        if not one.columns:
            return
        console.width = max(console.width, _NARROWEST)
        title = one.columns.index("title") if "title" in one.columns else None
        rows = [[_short(cell) if place == title else cell for place, cell in enumerate(row)] for row in one.rows]
        show_titled(console, table(one.title, one.columns, rows))


def _short(cell: object) -> str:
    text = str(cell)
    return f"{text[: _TITLE - 1]}…" if len(text) > _TITLE else text
