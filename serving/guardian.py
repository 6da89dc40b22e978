"""Ends a server whose parent is gone, however the parent ended.

A process of its own holds the reading end of a pipe whose writing end only the parent has: when the parent ends, even
by SIGKILL, the pipe closes, and the server's process group and its files in shared memory go. The kernel's own means
(PR_SET_PDEATHSIG) would kill the server as soon as the thread ends that started it, and leaves the stubs.
"""

import subprocess

from serving import shared_memory

# The words are arguments, never part of the script.
_SCRIPT = 'read -r _; kill -KILL "-$1"; rm -f -- "$2"*'


class Guardian:
    """Watches over one process group until `dismiss`."""

    def __init__(self, group: int, memory_prefix: str) -> None:
        """`group` is the server's process group, `memory_prefix` that of its shared-memory files."""
        files = str(shared_memory.DIRECTORY / memory_prefix)
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "recserve-guardian", str(group), files],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # What ends the parent's session or group must not end its guardian.
            start_new_session=True,
        )

    @property
    def alive(self) -> bool:
        """Whether it still watches."""
        return self._process.poll() is None

    def dismiss(self) -> None:
        """To be called once the group is gone, while the pipe is still open."""
        self._process.kill()
        self._process.communicate()
