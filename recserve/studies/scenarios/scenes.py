"""`recserve study sfpnet-scenes RUN`: a user's behaviours under two scenarios, with a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recserve import runs
from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.corp.command import origin
from training.checkpoint import write_json
from training.data.click import ClickData, now
from training.systems.sfpnet import SFPNet

_COLOURS = ("#0b6e99", "#b3261e", "#999999")


class Moved(NamedTuple):
    """A behaviour, and how far blocks move it in each of two scenarios."""

    title: str
    first: float
    second: float
    apart: float
    """Distance of what the two scenarios make of it."""


@dataclass(frozen=True, kw_only=True)
class SfpnetScenes(Command):
    """Show how far SFPNet moves each of a user's behaviours in two scenarios, and draw it."""

    source: Positional[Path]
    """Folder of a finished run of sfpnet."""
    user: str | None = None
    """Raw id of the user; the one with the longest history by default."""
    scenarios: tuple[int, int] = (1, 3)
    """Numbers of the two scenarios."""
    most: int = 20
    """Newest behaviours that are shown."""
    output: Path = STUDY_RESULTS / "sfpnet-scenes.json"
    """File of the result; the picture lies beside it, as .svg."""

    def __post_init__(self) -> None:
        check_output(self.output)

    def run(self) -> int:
        trained = runs.load(self.source)
        if not isinstance(trained.module, SFPNet) or not trained.module.config.blocks:
            raise ValueError(f"{self.source} is a run of {trained.system.name} without blocks; name one of sfpnet")
        assert isinstance(trained.data, ClickData)
        if not all(0 < one < trained.module.num_scenarios for one in self.scenarios):
            raise ValueError(f"--scenarios {self.scenarios}: there are 1 to {trained.module.num_scenarios - 1}")
        interactions = trained.data.interactions
        starts, ends = trained.data.log.all_of(np.arange(len(interactions.users)))
        named = None if self.user is None else interactions.dense("user", interactions.named("user", self.user))
        user = int(np.argmax(ends - starts)) if named is None else named
        rows = moved(trained.module, trained.data, user, self.scenarios)[: self.most]
        field = trained.data.source.scenario.field
        names = [field.values[one] if field and field.values else str(one) for one in self.scenarios]
        said, picture = str(interactions.raw("user", user)), self.output.with_suffix(".svg")
        result = {"scenario": "sfpnet-scenes", "kind": "scenes", **origin(trained), "user": said, "scenarios": names}
        result["behaviours"] = [one._asdict() for one in rows]
        write_json(self.output, result)
        draw(rows, names, f"user {said}, {interactions.name}", picture)
        show(self.console, table("behaviours, newest first", ["title", *names, "apart"], rows))
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


@torch.no_grad()
def moved(module: SFPNet, data: ClickData, user: int, scenarios: tuple[int, int]) -> list[Moved]:
    """Of a user's behaviours, newest first."""
    # What an event alone says is missing; its scenario is given below.
    missing = [np.full(field.width or 1, np.nan if field.kind == "dense" else 0) for field in data.context]
    batch = now(data, user, np.array([1]), missing)
    embedded = module.tables.look_up(batch)
    one, other = (module.tailor(embedded, torch.tensor([number])) for number in scenarios)
    apart = (one.history - other.history).norm(dim=2)[0]
    titles, length = data.interactions.titles, int(batch.history_length[0])
    met = batch.history_items[0, :length].tolist()
    far = (one.moved[0, :length], other.moved[0, :length], apart[:length])
    parts = zip(met, *(part.tolist() for part in far), strict=True)
    return [Moved(titles[item], first, second, between) for item, first, second, between in parts]


def draw(rows: list[Moved], names: list[str], title: str, path: Path) -> None:
    """Bars for each behaviour; the suffix says the format."""
    figure = Figure(figsize=(11.0, 0.36 * len(rows) + 1.6), layout="constrained")
    figure.suptitle(f"How far SFPNet moves behaviours: {title}", fontsize=13, fontweight="bold")
    bars(figure.subplots(), rows, names)
    figure.savefig(path, dpi=120)


def bars(axes: Axes, rows: list[Moved], names: list[str]) -> None:
    """Of each behaviour how far each scenario moves it, and how far apart that is."""
    places, apart = np.arange(len(rows)), "between what both make of it"
    drawn = {names[0]: [one.first for one in rows], names[1]: [one.second for one in rows]}
    drawn[apart] = [one.apart for one in rows]
    for shift, (name, values), colour in zip((-0.27, 0.0, 0.27), drawn.items(), _COLOURS, strict=True):
        axes.barh(places + shift, values, height=0.25, color=colour, label=name)
    axes.set_yticks(places, [one.title[:40] for one in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("length of what the blocks add; distance after the last norm")
    axes.legend(frameon=False)
