"""`recserve releases promote`."""

from dataclasses import dataclass

from recserve import gate
from recserve.commands.releases.gated import Gated
from recserve.commands.releases.moving import Moving, chosen
from recserve.options import Positional
from serving import releases


@dataclass(frozen=True, kw_only=True)
class Promote(Moving, Gated):
    """Serve a published release; the one that is served stays loaded, and a running server misses no request."""

    model: Positional[str]
    """Model that clients ask, or MODEL@VERSION; its newest release by default."""

    def run(self) -> int:
        name, version = chosen(self.repository, self.model)
        version = version or releases.numbers(self.repository, name)[-1]
        offered = gate.recorded(self.repository, name, version) if self.not_worse_than else []
        if not self.passes(name, offered, f"{name} {version}"):
            return 1
        self.move(name, version, lambda now: now.at(version, "promoted"))
        return 0
