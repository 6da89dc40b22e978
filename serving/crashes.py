"""Requests that ended a server whose backend is native, where a fault of a graph is a fault of the whole server.

The backend keeps, in a folder that lives as long as whoever starts the server again, what it is computing and how often
requests of one shape ended it. After the third time it refuses them, and the rest goes on.
"""

import shutil
import tempfile
import weakref
from pathlib import Path

VARIABLE = "RECSERVE_CRASHES"
"""Environment variable with the folder."""
REFUSED = "and are refused until it is served anew"
"""In the error of each request that is refused for that."""
MOST = 3
"""Times that requests of one shape may end the server."""


class Crashes:
    """What is known of one server, over all its restarts."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="recserve-crashes-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """Where the backend finds the folder."""
        return {VARIABLE: self._folder}

    @property
    def refused(self) -> list[str]:
        """What is refused, as "<model>.<version> <input> [shape], ..."."""
        return [
            f"{path.stem} {pattern}"
            for path in sorted(Path(self._folder).glob("*.crashes"))
            for number, _, pattern in (line.partition(" ") for line in path.read_text().splitlines())
            if int(number) >= MOST
        ]
