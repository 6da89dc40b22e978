"""`recserve study sdiff-snr RUN`: signal against noise in bands of frequencies, with a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from recserve import runs
from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.corp.command import origin
from training.checkpoint import write_json
from training.systems.sdiff import SDiff
from training.systems.sdiff.bands import borders
from training.systems.sdiff.schedule import Schedule, isotropic, schedule

_COLOURS = {"by frequency": "#0b6e99", "isotropic": "#b3261e"}


class Band(NamedTuple):
    """A band of frequencies at a level of noise."""

    noise: str
    level: int
    lowest: float
    highest: float
    signal: float
    """Energy of users in the band that is left, as a mean over users around the mean user."""
    noise_energy: float
    snr_db: float | None
    """Decibels; None where there is no noise."""


@dataclass(frozen=True, kw_only=True)
class SdiffSnr(Command):
    """Show what noise leaves of the signal in bands of frequencies, beside isotropic noise of equal energy."""

    source: Positional[Path]
    """Folder of a finished run of sdiff."""
    output: Path = STUDY_RESULTS / "sdiff-snr.json"
    """File of the result; the picture lies beside it, as .svg."""

    def __post_init__(self) -> None:
        check_output(self.output)

    def run(self) -> int:
        trained = runs.load(self.source)
        if not isinstance(trained.module, SDiff):
            raise ValueError(f"{self.source} is no run of sdiff")
        bands = both(trained.module)
        result = {"scenario": "sdiff-snr", "kind": "snr", **origin(trained)}
        result["bands"] = [one._asdict() for one in bands]
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(bands, f"S-Diff, {trained.data.schema.dataset}", picture)
        last = [one for one in bands if one.level == trained.module.config.levels]
        show(self.console, table("signal against noise at the last level", list(Band._fields), last))
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


def both(module: SDiff) -> list[Band]:
    """Of noise by frequency as the run's configuration has it, and of isotropic noise of the same energy."""
    config = module.config
    planned = schedule(module.frequencies.double(), config.levels, config.last, config.bound)
    even = isotropic(planned)
    return [*bands_of("by frequency", planned, module), *bands_of("isotropic", even, module)]


def bands_of(name: str, planned: Schedule, module: SDiff) -> list[Band]:
    """Level by level from the first with noise."""
    frequencies, energy = module.frequencies.tolist(), module.spread.double().square()
    unit = torch.full_like(energy, float(module.unit()) ** 2)
    found = []
    for level in range(1, module.config.levels + 1):
        signal, noise = planned.signal[level].square() * energy, planned.noise[level].square() * unit
        for start, end in borders(len(frequencies)):
            kept, added = float(signal[start:end].sum()), float(noise[start:end].sum())
            ratio = None if added <= 1e-12 * kept else 10 * float(np.log10(kept / added))
            found.append(Band(name, level, frequencies[start], frequencies[end - 1], kept, added, ratio))
    return found


def draw(bands: list[Band], title: str, path: Path) -> None:
    """A line for each level; the suffix says the format."""
    figure = Figure(figsize=(7.6, 4.6), layout="constrained")
    axes = figure.subplots()
    last = max(one.level for one in bands)
    for name, colour in _COLOURS.items():
        for level in range(1, last + 1):
            line = [one for one in bands if (one.noise, one.level) == (name, level)]
            axes.plot(
                [(one.lowest + one.highest) / 2 for one in line],
                [np.nan if one.snr_db is None else one.snr_db for one in line],
                "o-" if name == "by frequency" else "s--",
                markersize=3.5,
                color=colour,
                alpha=0.35 + 0.65 * level / last,
                label=name if level == last else None,
            )
    axes.set(xlabel="frequency, mean of the band", ylabel="signal against noise, dB")
    axes.set_title(f"What noise leaves, levels 1 to {last} (darker): {title}", fontsize=12, fontweight="bold")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    figure.savefig(path, dpi=120)
