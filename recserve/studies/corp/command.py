"""`recserve study corp RUN`: what pruning by consistency does as theta grows, with a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve import runs
from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import check_picture
from recserve.runs import Trained
from recserve.studies.corp.picture import draw
from recserve.studies.corp.theta import THETAS, Point, sweep
from serving.environment import circumstances
from training.checkpoint import config_to_json, load_info
from training.data.sequences import SequenceData
from training.systems.reg4rec import Reg4Rec


@dataclass(frozen=True, kw_only=True)
class Corp(Command):
    """Measure pruned share, hit rate and latency of a reg4rec run against theta, and draw them."""

    source: Positional[Path]
    """Folder of a finished run of reg4rec."""
    out: Path = Path("corp.png")
    """File of the picture; .png, .svg or .pdf."""
    thetas: tuple[float, ...] = THETAS
    """Shares of adjacent steps that must agree."""
    users: int = 4000
    """Users of the test part, drawn at random."""
    repetitions: int = 10
    """Repetitions of each timing."""

    def __post_init__(self) -> None:
        check_picture(self.out)
        if self.users < 1 or self.repetitions < 1 or not self.thetas:
            raise ValueError("--users and --repetitions must be at least 1, and --thetas at least one")
        for theta in self.thetas:
            if not 0 <= theta <= 1:
                raise ValueError(f"--thetas {theta}: it must be in 0..1")

    def run(self) -> int:
        trained = runs.load(self.source)
        if not isinstance(trained.module, Reg4Rec):
            raise ValueError(f"{self.source} is a run of {trained.system.name}; only reg4rec prunes")
        assert isinstance(trained.data, SequenceData)
        with self.console.status("measuring each theta"):
            assert isinstance(trained.data, SequenceData)
            points = sweep(trained.module, trained.data, self.thetas, self.users, self.repetitions)
        draw(points, f"{trained.system.title}, {trained.data.schema.dataset}, {trained.config.beams} beams", self.out)
        show(self.console, table("CORP against theta", list(Point._fields), points))
        self.console.print(str(self.out), highlight=False, soft_wrap=True)
        self.emit({**origin(trained), "users": self.users, "points": [point._asdict() for point in points]})
        return 0


def origin(trained: Trained) -> dict[str, Any]:
    """What a result of a run says of where it comes from."""
    return {
        "run": f"{trained.folder.parent.name}/{trained.folder.name}",
        "config": config_to_json(trained.config),
        "dataset": trained.data.schema.dataset,
        "seeds": [load_info(trained.folder).seed],
        **circumstances(),
    }
