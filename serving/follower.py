"""Takes a running server to what its repository says is to be served."""

import time
from collections.abc import Callable

from recserve_client.errors import ServerUnavailable, ServingError
from serving import releases
from serving.releases import Refused
from serving.rollout import Release, roll_out, served
from serving.server import TritonServer
from serving.watchdog import FROZEN_S, PERIOD_S

_NOTICED_S = FROZEN_S + 2 * PERIOD_S
"""After which a watchdog has noticed whatever it notices."""


class Follower:
    """Rolls out what is to be served otherwise, each release for itself; one that was refused is not tried again, and
    `releases.json` says so."""

    def __init__(self, server: TritonServer, report: Callable[[str], None]) -> None:
        """`server` runs in the control mode `explicit`; `report` is told what it serves, or why it does not."""
        self._server = server
        self._report = report
        self._refused: dict[str, str] = {}
        """Name of the release -> what was refused of it."""

    def look(self) -> None:
        """Takes over what is to be served, or says once why not."""
        try:
            wanted = Release.wanted(self._server.repository, self._server.options.target)
            changed = self._changed(wanted)
        except (ValueError, OSError) as error:
            if self._tell("", str(error)):
                self._report(f"release refused: {error}")
            return
        self._refused = {name: what for name, what in self._refused.items() if name in changed}
        for name, release in changed.items():
            if self._refused.get(name) == str(release):
                continue
            try:
                self._take_over(release)
            except ServerUnavailable:
                # The supervisor sees to it; the release is tried again then.
                return
            except ServingError as error:
                if not self._fell():
                    self._refuse(name, str(release), error)
            except (ValueError, OSError) as error:
                self._refuse(name, str(release), error)

    def _changed(self, wanted: Release) -> dict[str, Release]:
        """What is to be served otherwise, by name of the release."""
        assert self._server.release is not None
        repository, now = self._server.repository, self._server.release.versions
        found: dict[str, Release] = {}
        for model, version in wanted.versions.items():
            if now.get(model) != version:
                name = releases.name_of(repository / model, version)
                found.setdefault(name, Release({})).versions[model] = version
        return found

    def _take_over(self, release: Release) -> None:
        server = self._server
        with server.client() as client:
            # The release that was looked at, and no later one, so that a refusal is remembered of the right one.
            now = roll_out(client, server.repository, server.options.target, release=release)
            server.release = served(client)
        if now is not None:
            self._report(f"serving {', '.join(f'{name} {version}' for name, version in sorted(now.versions.items()))}")

    def _fell(self) -> bool:
        """Whether the server is at fault, and not the release: it is noticed a moment later."""
        end = time.monotonic() + _NOTICED_S
        while self._server.fault is None and time.monotonic() < end:
            time.sleep(PERIOD_S)
        return self._server.fault is not None

    def _refuse(self, name: str, what: str, error: Exception) -> None:
        """Says so, once, and makes the repository say what is served, so that the next start does not fail over it."""
        if not self._tell(name, what):
            return
        self._report(f"release refused: {error}")
        try:
            self._put_back(name, str(error))
        except (ValueError, OSError) as failed:
            self._report(f"{self._server.repository / releases.FILE} still names it: {failed}")

    def _tell(self, name: str, what: str) -> bool:
        """Whether it is to be told; remembered."""
        is_new = self._refused.get(name) != what
        self._refused[name] = what
        return is_new

    def _put_back(self, name: str, why: str) -> None:
        assert self._server.release is not None
        repository, serving = self._server.repository, self._server.release.versions.get(name)
        refused = releases.standing(repository, name).served
        if serving is None or serving == refused:
            return

        def as_it_is(now: releases.Standing) -> releases.Standing:
            return now.back_at(serving, "refused", Refused(refused, why)) if now.served == refused else now

        releases.change(repository, name, as_it_is)
