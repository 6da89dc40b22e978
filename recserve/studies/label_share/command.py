"""`recserve study label-share`: what pre-training is worth where few rows have labels, drawn from recorded results."""

from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command, show, table
from recserve.pictures import check_picture
from recserve.studies.label_share.picture import draw
from recserve.studies.label_share.points import DATASETS, SHARES, recorded


@dataclass(frozen=True, kw_only=True)
class LabelShare(Command):
    """Draw recorded results of DGenCTR and its controls against the share of rows with labels; trains nothing."""

    dataset: str = DATASETS[0]
    """Data set of the results."""
    out: Path = Path("label-share.png")
    """File of the picture; .png, .svg or .pdf."""

    def __post_init__(self) -> None:
        check_picture(self.out)

    def run(self) -> int:
        found = recorded(self.dataset)
        if not any(found.values()):
            raise ValueError(f"nothing of it was recorded on {self.dataset}; recserve train dgenctr --record does")
        draw(found, self.dataset, self.out)
        auc = {way: {share: one.test["auc"]["mean"] for share, one in of.items()} for way, of in found.items()}
        rows = [[way, *(of.get(share, "") for share in SHARES)] for way, of in auc.items()]
        columns = ["AUC", *(f"{share:.0%} of labels" for share in SHARES)]
        show(self.console, table(f"DGenCTR on {self.dataset}", columns, rows))
        self.console.print(str(self.out), highlight=False, soft_wrap=True)
        self.emit({"dataset": self.dataset, "auc": auc})
        return 0
