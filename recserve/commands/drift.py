"""`recserve drift`: what a log of requests says of traffic, beside what a release was made for."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from export.log_drift import QUANTILES, Compared, Report, report
from recserve.commands.command import Command, show, table
from recserve.commands.releases.moving import chosen
from recserve.drift_picture import draw
from recserve.options import Positional
from recserve.pictures import check_picture
from serving import releases


@dataclass(frozen=True, kw_only=True)
class Drift(Command):
    """Compare the requests of a log with the reference of the release that answered them.

    By the distribution of scores, the sizes of requests, and the share of ids that the release does not know.
    The stability index is 0 for the same shares; by a rule of thumb traffic is another above 0.25 and alike below 0.1.
    """

    model: Positional[str]
    """Model that clients ask, or MODEL@VERSION; what is served by default."""
    repository: Path
    """The model repository."""
    log: Path
    """Folder of a log of requests, of `recserve serve --request-log`."""
    out: Path | None = None
    """Picture to draw, .png, .svg or .pdf; none by default."""

    def __post_init__(self) -> None:
        if self.out is not None:
            check_picture(self.out)

    def run(self) -> int:
        name, version = chosen(self.repository, self.model)
        found = report(self.repository, name, version or releases.standing(self.repository, name).served, self.log)
        users = "" if found.users is None else f" of {found.users} users"
        self._say(
            f"{found.model} {found.version}: {found.requests} requests{users}, {found.first} to {found.last}; "
            f"reference: {found.reference_requests} {'logged' if found.source == 'log' else 'example'} requests"
        )
        head = ["", "stability index", *(f"p{100 * one:g}" for one in QUANTILES)]
        show(self.console, table("log against reference", head, [*_rows(found)]))
        if found.source == "example":
            self._say("example requests tell little of traffic: recserve releases golden makes a reference of this log")
        if found.not_finite:
            self._say(f"{found.not_finite} scores are NaN or infinite")
        shares = [[one, share, _share(found.reference_unknown.get(one))] for one, share in found.unknown.items()]
        if shares:
            show(self.console, table("share of unknown ids", ["input", "log", "reference"], shares))
        if self.out is not None:
            draw(found, self.out)
            self._say(str(self.out))
        self.emit(
            found._asdict() | {"scores": found.scores._asdict(), "sizes": found.sizes._asdict(), "quantiles": QUANTILES}
        )
        return 0

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def _rows(found: Report) -> Iterable[list[object]]:
    for what, one in (("scores", found.scores), ("sizes", found.sizes)):
        yield [what, one.drift, *_quantiles(one)]


def _quantiles(one: Compared) -> list[str]:
    return [f"{value:.4g}" for value in one.quantiles]


def _share(value: float | None) -> float | str:
    return "" if value is None else value
