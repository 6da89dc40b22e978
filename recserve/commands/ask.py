"""`recserve ask`: one question to a served model, whichever system and data set it is of; the server says which."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.further import complete, further, further_input
from export.served import Served, data_of, find, system_of
from recserve.commands.command import show_titled, table
from recserve.commands.connected import Connected
from recserve.options import Positional
from recserve.pictures import check_picture
from recserve_client import ModelUnavailable
from serving.admin import Admin
from training.asking import Question, Shown, Tensors, leading, profiles
from training.interactions import Interactions
from training.retrieve_then_rank import NAME as RETRIEVE_THEN_RANK
from training.system import System

_MOST = 20_000
_TITLE = 40
"""Characters of a title in a table."""
_NARROWEST = 80
"""Columns into which a table is folded at least."""


@dataclass(frozen=True, kw_only=True)
class Ask(Connected):
    """Ask a served model: what a user may want of the candidates, or next, and why."""

    model: Positional[str | None] = None
    """Name of the served model; the only one by default."""
    user: str | None = None
    """User id, as the data set has it; one who is unknown has an empty history."""
    student: str | None = None
    """The same, where users are students, who have answered questions."""
    history: tuple[str, ...] = ()
    """Item ids, oldest first, in place of a user's."""
    candidates: tuple[str, ...] = ()
    """Item ids to rank; by default all that are new to the user, the most popular ones where a request may not carry
    so many."""
    set: tuple[str, ...] = ()
    """Further inputs of the model, NAME=VALUE each; missing, or 0, by default."""
    top: int = 10
    """Rows to print."""
    target: float | None = None
    """Order by nearness of the answer to this probability, and name what is next."""
    picture: Path | None = None
    """File, .svg, .png or .pdf, into which to draw how what the model says of the user went from event to event."""
    explain: bool = False
    """Reasons below the answer: what the system itself knows, of a student the answers had the last one been otherwise,
    or else what the data set has of user and items."""
    dataset: str | None = None
    """Data set that the model must be of, else it is refused; by default any."""
    url: str = "127.0.0.1:8001"
    """Address of the server's gRPC port."""
    deadline_s: float = 5.0
    """Seconds that the server has to answer."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"--top is {self.top}; it must be at least 1")
        if self.user is not None and self.student is not None:
            raise ValueError("--user and --student are both given; choose one")
        if self._who is not None and self.history:
            raise ValueError(f"--{'user' if self.user else 'student'} and --history are both given; choose one")
        if self.target is not None and not 0 <= self.target <= 1:
            raise ValueError(f"--target is {self.target:g}; it must be a probability, from 0 to 1")
        if self.picture is not None:
            check_picture(self.picture, "--picture")
        if bad := [one for one in self.set if "=" not in one]:
            raise ValueError(f"--set {bad[0]} is no NAME=VALUE")
        names = [one.split("=", 1)[0] for one in self.set]
        if twice := [name for place, name in enumerate(names) if name in names[:place]]:
            raise ValueError(f"--set {twice[0]} is said twice; say it once")

    def run(self) -> int:
        with Admin(self.url, deadline_s=self.deadline_s, headers=self.sent, tls=self.security) as client:
            served = find(client, self.model)
            interactions = data_of(served, self.dataset)
            chosen = system_of(served)
            question = self._question(interactions, served)
            request = self._request(chosen, interactions, question, served)
            answer = client.infer(served.model, request)
            tables = self._tables(chosen, interactions, question, request, answer)
            if self.explain:
                asked = leading(request, answer, self.top)
                tables += self._reasons(chosen, client, (served.model, interactions, *asked), self._items(tables[0]))
            if self.picture is not None:
                from recserve.course_picture import draw

                course = chosen.task.course(client.infer, served.model, interactions, request)
                draw(course, self.picture)
        for one in tables:
            self._show(one)
        if self.picture is not None:
            self.console.print(f"\n{self.picture}", highlight=False, soft_wrap=True)
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
                "picture": self.picture,
            }
        )
        return 0

    def _question(self, interactions: Interactions, served: Served) -> Question:
        return Question(
            None if self._who is None else interactions.named("user", self._who),
            tuple(interactions.named("item", item) for item in self.history),
            tuple(interactions.named("item", item) for item in self.candidates),
            served.most("candidates", _MOST),
        )

    @property
    def _who(self) -> str | None:
        return self.student if self.user is None else self.user

    def _tables(
        self, chosen: System, interactions: Interactions, question: Question, request: Tensors, answer: Tensors
    ) -> list[Shown]:
        """The answer, and what else it says."""
        task, shown = chosen.task, chosen.task.shown(interactions, question, request, answer)
        if self.target is not None:
            shown = task.towards(shown, self.target)
        listed = answer["items"].shape[1] if "items" in answer else self.top
        if listed < self.top:
            shown = shown._replace(lines=(*shown.lines, f"the model lists {listed} items at most"))
        tables = [shown, *task.beside(interactions, request, answer)]
        return [one._replace(rows=one.rows[: self.top]) for one in tables]

    def _request(self, chosen: System, interactions: Interactions, question: Question, served: Served) -> Tensors:
        """The task's request and further inputs. Raises ValueError naming an input that the model does not have."""
        if self.student is not None and chosen.task.person != "student":
            kind = f"of the task {chosen.task.name}, whose users are no students"
            raise ValueError(f"--student: model '{served.model}' is {kind}; give --user")
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

    def _reasons(
        self, chosen: System, client: Admin, asked: tuple[str, Interactions, Tensors, Tensors], items: Sequence[str]
    ) -> list[Shown]:
        """What the system itself or its task knows, or else the fields; a release of a control may lack the part that
        would say it."""
        if asked[0] == RETRIEVE_THEN_RANK:
            said = (
                f"both scores are all it says of an item; for reasons ask a model: recserve ask {chosen.name} --explain"
            )
            return [Shown((said,), "", (), []), profiles(asked[1], self._who, items)]
        try:
            reasons = (chosen.explained or chosen.task.explained)(client.infer, *asked)
        except ModelUnavailable as error:
            reasons = [Shown((f"no reasons of its own: {error}",), "", (), [])]
        if reasons and reasons[0].columns:
            return reasons
        return [*reasons, profiles(asked[1], self._who, items)]

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
