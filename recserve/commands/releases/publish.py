"""`recserve releases publish`: beside what is served."""

from dataclasses import dataclass

from export.repository import publish_beside, whole_of
from recserve.commands.exporting import Exporting
from recserve.commands.releases.gated import Gated
from recserve.options import Positional
from serving import releases


@dataclass(frozen=True, kw_only=True)
class Publish(Gated, Exporting):
    """Export a run, or the models of package.module:factory, beside what is served, which goes on."""

    source: Positional[str]
    """Folder of a finished run, or package.module:factory."""

    def run(self) -> int:
        signatures, source = self.release(self.source, self.repository)
        name = whole_of(signatures)
        if not self.passes(name, source.measured, self.source):
            return 1
        version = publish_beside(self.repository, signatures, source, self.say)
        served = releases.standing(self.repository, name).served
        self.say(
            f"{name} {version} is served, as nothing was before"
            if served == version
            else f"{name} {served} is served: recserve releases promote {name}@{version} --repository {self.repository}"
        )
        self.emit({"ok": True, "release": name, "version": version, "served": served})
        return 0
