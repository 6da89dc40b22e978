"""What `promote` and `rollback` share: the file is changed, and the server that follows it goes there, or neither."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recserve.commands.connected import Connected
from recserve_client import Client
from recserve_client.errors import (
    InvalidRequest,
    ModelUnavailable,
    NotAllowed,
    ServerUnavailable,
    ServingError,
    TlsMismatch,
)
from serving import golden, manifest, releases
from serving.in_process import InProcessModel, runs_here
from serving.readiness import TOLERANCE
from serving.releases import Standing
from serving.startup import StartupError

_POLL_S = 0.1
_DEADLINE_S = 5.0
"""Of one call."""


@dataclass(frozen=True, kw_only=True)
class Moving(Connected):
    """Where the release is, and who serves it."""

    repository: Path
    """The model repository."""
    url: str = "127.0.0.1:8001"
    """Address of the gRPC port of the server that follows the repository; where nobody answers, the next start serves
    what was chosen."""
    deadline_s: float = 120.0
    """Seconds that the server has to serve it; else what was served before is chosen again."""

    def move(self, name: str, version: int, how: Callable[[Standing], Standing]) -> None:
        """Makes a release the served one, and returns when the server says that it serves it.

        Raises:
            StartupError: a file of the release is not the published one, or an answer is not, and nothing is changed;
                or the server does not take it, and what was served before is chosen again.
        """
        models = releases.models_of(self.repository, name, version)
        try:
            for model in models:
                manifest.verify(self.repository / model / str(version))
        except ValueError as error:
            raise StartupError(f"{name} {version} is refused, nothing is changed: {error}") from error
        before = releases.standing(self.repository, name)
        with Client(self.url, deadline_s=_DEADLINE_S, headers=self.sent, tls=self.security) as client:
            is_served = _serves(client, [name]) is not None
            if not is_served:
                _refuse_wrong_answers(self.repository / name, version)
            now = releases.change(self.repository, name, how) if before.served != version else before
            if is_served:
                with self.console.status(f"waiting until {self.url} serves {name} {version}"):
                    self._wait(client, name, models, before, version)
        where = f"at {self.url}" if is_served else f"from the next start on, as nobody at {self.url} has it"
        self.console.print(f"{name} {version} is served {where}", highlight=False, markup=False, soft_wrap=True)
        self.emit(
            {
                "release": name,
                "version": version,
                "before": list(now.before),
                "server": self.url if is_served else None,
            }
        )

    def _wait(self, client: Client, name: str, models: Sequence[str], before: Standing, version: int) -> None:
        end = time.monotonic() + self.deadline_s
        while time.monotonic() < end:
            now = releases.standing(self.repository, name)
            if now.refused is not None and now.refused.version == version:
                raise StartupError(f"{name} {version} was refused, {now.served} goes on: {now.refused.why}")
            found = _serves(client, models)
            if found is not None and set(found.values()) == {version}:
                return
            time.sleep(_POLL_S)
        releases.change(self.repository, name, lambda now: before if now.served == version else now)
        raise StartupError(
            f"{self.url} does not serve {name} {version} after {self.deadline_s:g} s, and {before.served} is chosen "
            "again; is it `recserve serve --follow` of this repository? Stop it, and what is chosen holds at its start"
        )


def chosen(repository: Path, words: str) -> tuple[str, int | None]:
    """Name and version of MODEL[@VERSION]. Raises ValueError where there is no such release."""
    name, at, number = words.partition("@")
    if at and not number.isdecimal():
        raise ValueError(f"'{words}': behind the @ comes the number of a version")
    there = releases.numbers(repository, name)
    if not there:
        known = ", ".join(releases.names(repository)) or "none"
        raise ValueError(f"{repository} has no release '{name}'; it has {known}")
    if at and int(number) not in there:
        raise ValueError(f"{repository} has no {name} {number}; it has {', '.join(map(str, there))}")
    return name, int(number) if at else None


def _serves(client: Client, models: Sequence[str]) -> dict[str, int] | None:
    """The version of each that answers who names none; None where nobody does. Raises a ServingError where somebody
    would who is asked in another way: with TLS, a token, another header."""
    try:
        return {model: max(map(int, client.metadata(model).versions), default=0) for model in models}
    except (TlsMismatch, NotAllowed, InvalidRequest):
        raise
    except (ServerUnavailable, ModelUnavailable):
        return None
    except ServingError:
        # It hangs, or is busy: it is asked again.
        return {}


def _refuse_wrong_answers(model: Path, version: int) -> None:
    """In this process, where no server can do it; an ensemble is its steps. Raises StartupError."""
    fault = _fault(model, version) if runs_here(model) else None
    if fault is not None:
        raise StartupError(f"{model.name} {version} is refused, nothing is changed: {fault}; export it again")


def _fault(model: Path, version: int) -> str | None:
    """What is wrong with the first golden answer that is."""
    opened = InProcessModel.open(model, version=str(version))
    try:
        for number, expected in enumerate(golden.read(model / str(version) / "golden.safetensors")):
            gap = golden.compare(expected.outputs, opened.run([expected.inputs])[0], TOLERANCE)
            if not gap.ok:
                return f"golden request {number} is off by {gap.absolute:.3g}"
    except ValueError as error:
        return str(error)
    finally:
        opened.close()
    return None
