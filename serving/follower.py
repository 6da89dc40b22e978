"""Takes over releases as they are published."""

from collections.abc import Callable

from serving.errors import ServerUnavailable, ServingError
from serving.rollout import Release, roll_out, served
from serving.server import TritonServer


class Follower:
    """Rolls out what is new in a server's repository; a release that was refused is not tried again."""

    def __init__(self, server: TritonServer, report: Callable[[str], None]) -> None:
        """`server` runs in the control mode `explicit`; `report` is told what it serves, or why it does not."""
        self._server = server
        self._report = report
        self._refused = ""

    def look(self) -> None:
        """Takes over the newest release, or says once why not."""
        newest = ""
        try:
            release = Release.newest(self._server.repository, self._server.options.target)
            newest = str(release)
            if release == self._server.release:
                self._refused = ""
            elif newest != self._refused:
                self._take_over(release)
        except ServerUnavailable:
            # The supervisor sees to it; the release is tried again then.
            return
        except (ServingError, ValueError, OSError) as error:
            refused = newest or str(error)
            if self._server.fault is None and refused != self._refused:
                self._refused = refused
                self._report(f"release refused: {error}")

    def _take_over(self, release: Release) -> None:
        server = self._server
        with server.client() as client:
            # The release that was looked at, and no later one, so that a refusal is remembered of the right one.
            now = roll_out(client, server.repository, server.options.target, release=release)
            server.release = served(client)
        if now is not None:
            self._report(f"serving {', '.join(f'{name} {version}' for name, version in sorted(now.versions.items()))}")
