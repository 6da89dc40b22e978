"""`recserve releases rollback`."""

from dataclasses import dataclass

from recserve.commands.releases.moving import Moving, chosen
from recserve.options import Positional
from serving import releases


@dataclass(frozen=True, kw_only=True)
class Rollback(Moving):
    """Serve the release before again; once more, and the one before that. Never forward: that is promote."""

    model: Positional[str]
    """Model that clients ask, or MODEL@VERSION for a release that was served earlier."""

    def run(self) -> int:
        name, wanted = chosen(self.repository, self.model)
        now = releases.standing(self.repository, name)
        there = releases.numbers(self.repository, name)
        before = [one for one in now.before if one in there]
        if not before:
            raise ValueError(
                f"{name} {now.served} is served, and nothing was before it; recserve releases promote {name}@VERSION "
                "serves any other"
            )
        version = before[0] if wanted is None else wanted
        if version not in before:
            raise ValueError(
                f"{name} {version} was not served before {now.served}; that were {', '.join(map(str, before))}. "
                f"recserve releases promote {name}@{version} serves it"
            )
        self.move(name, version, lambda now: now.back_at(version, "rolled back"))
        return 0
