"""`recserve train SYSTEM`: one run, or several seeds with their mean and spread."""

import dataclasses
import os
import shlex
import shutil
import statistics
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from recserve import results
from recserve.commands.command import Command, show, table
from recserve.runs import dataset_of, folder_of, given, load_data, upstream
from serving.environment import versions
from training import checkpoint
from training.checkpoint import Metrics, config_to_json
from training.fit import FitOptions, FitResult, fit
from training.registry import SYSTEMS
from training.system import System


@dataclass(frozen=True, kw_only=True)
class Train(Command):
    """Train a system; `recserve train SYSTEM --help` lists its configuration."""

    system: ClassVar[System]
    config: Any = None
    seed: int = 0
    """Seed of everything random."""
    seeds: int = 1
    """Number of seeds to train, from `seed` on; mean and spread are reported."""
    runs: Path = Path("runs")
    """Folder of the runs: each goes to RUNS/<system>/<configuration>-s<seed>."""
    resume: bool = False
    """Continuation of a run where it stopped; a finished one is read back."""
    overwrite: bool = False
    """Replacement of an earlier run of the same configuration and seed, which is deleted first."""
    record: bool = False
    """Publication of mean and spread as this system's result on the data set (training/results)."""
    max_epochs: int | None = None
    """Epochs of each stage at most, in place of the configuration's; the run remembers it."""
    checkpoint_every: int = 50
    """Steps between checkpoints."""
    accelerator: Literal["cpu", "auto"] = "cpu"
    """Device: cpu, or auto for what Lightning finds."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"--seeds is {self.seeds}; it must be at least 1")
        if self.resume and self.overwrite:
            raise ValueError("--resume and --overwrite contradict each other; choose one")

    def run(self) -> int:
        results_of = [self._train(seed) for seed in range(self.seed, self.seed + self.seeds)]
        if int(os.environ.get("RANK", "0")) > 0:  # under torchrun one process speaks for all
            return 0
        metrics = [result.metrics for result in results_of]
        summary = summarise(metrics)
        columns = ["metric", *(f"seed {self.seed + n}" for n in range(self.seeds))]
        rows = [[name, *(one["test"][name] for one in metrics)] for name in metrics[0]["test"]]
        if self.seeds > 1:
            columns += ["mean", "std"]
            rows = [[*row, summary[row[0]]["mean"], summary[row[0]]["std"]] for row in rows]
        title = f"{self.system.name} on the test part of {dataset_of(self.system, self.config)}"
        show(self.console, table(title, columns, rows))
        for result in results_of:
            self.console.print(f"run: {result.run}", highlight=False)
        if self.record:
            results.record(self._result(summary, results_of))
        self.emit({"runs": [result.run for result in results_of], "metrics": metrics, "test": summary})
        return 0

    def _train(self, seed: int) -> FitResult:
        folder = folder_of(self.runs, self.system.name, self.config, seed)
        started = (folder / "run.json").is_file()
        if started and self.overwrite:
            shutil.rmtree(folder, ignore_errors=True)  # under torchrun another process may be first
            started = False
        if started and not self.resume:
            raise ValueError(
                f"{folder} holds a run already; go on with --resume, start again with --overwrite, "
                "or train another one with --seed or --runs"
            )
        if started:
            self._check_epochs(folder)
        return self._fit(self.system, self.config, folder, seed)

    def _fit(self, system: System, config: Any, folder: Path, seed: int) -> FitResult:
        """Trains, or goes on where a run of this folder stopped, or reads a finished one back."""
        if not checkpoint.is_finished(folder):
            self._fit_upstream(system, config, seed)
        options = FitOptions(
            run=folder,
            seed=seed,
            resume=(folder / "run.json").is_file(),
            max_epochs=self.max_epochs,
            checkpoint_every=self.checkpoint_every,
            accelerator=self.accelerator,
            quiet=self.json,
        )
        return fit(system, config, load_data(system, config, given(self.runs, system, config, seed)), options)

    def _fit_upstream(self, system: System, config: Any, seed: int) -> None:
        """Trains the runs that this one builds on, where they have not finished."""
        for needed, settings, folder in upstream(self.runs, system, config, seed):
            if (folder / "run.json").is_file():
                self._check_epochs(folder)
            if not checkpoint.is_finished(folder):
                self.console.print(f"{system.name} builds on {needed.name}, which is trained first", highlight=False)
                self._fit(needed, settings, folder, seed)

    def _check_epochs(self, folder: Path) -> None:
        """A run goes on as it was started; its configuration and seed are in the name of its folder."""
        before = checkpoint.load_info(folder).max_epochs
        if before != self.max_epochs:
            started = "without --max-epochs" if before is None else f"with --max-epochs {before}"
            raise ValueError(
                f"{folder} was started {started}; resume it so, start again with --overwrite, or name other --runs"
            )

    def _result(self, summary: dict[str, dict[str, float]], results_of: list[FitResult]) -> results.Result:
        tests = [of_test(result.metrics) for result in results_of]
        return results.Result(
            system=self.system.name,
            dataset=dataset_of(self.system, self.config),
            seeds=list(range(self.seed, self.seed + self.seeds)),
            test=summary,
            config=config_to_json(self.config),
            versions=versions(),
            recorded=datetime.now(UTC).date().isoformat(),
            command=self._command(),
            runs=[f"{result.run.parent.name}/{result.run.name}" for result in results_of],
            by_seed={name: [test[name] for test in tests] for name in summary},
        )

    def _command(self) -> str:
        """With every option that says what is measured."""
        words = ["recserve", "train", self.system.name, *changed_options(self.config, self.system.config())]
        options = {"--seed": self.seed or None, "--seeds": self.seeds, "--max-epochs": self.max_epochs}
        words += [word for name, value in options.items() if value is not None for word in (name, str(value))]
        return shlex.join([*words, "--record"])


def changed_options(config: Any, default: Any) -> list[str]:
    """The options of a configuration that differ from the default's, as the command line takes them."""
    words = []
    for name, value in vars(config).items():
        if value == getattr(default, name):
            continue
        words.append(f"--config.{name.replace('_', '-')}")
        if not isinstance(value, bool):
            words += map(str, value) if isinstance(value, tuple) else [str(value)]
    return words


def summarise(metrics: list[Metrics]) -> dict[str, dict[str, float]]:
    """Mean and sample standard deviation (0 for one seed) of each test metric, also after the earlier stages."""
    tests = [of_test(one) for one in metrics]
    columns = {name: [one[name] for one in tests] for name in tests[0]}
    return {
        name: {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else 0.0}
        for name, values in columns.items()
    }


def of_test(metrics: Metrics) -> dict[str, float]:
    """The final test metrics by name, those after an earlier stage as `<name> after <stage>`."""
    earlier = {part.removeprefix("test "): values for part, values in metrics.items() if part.startswith("test ")}
    named = {f"{name} {part}": value for part, values in earlier.items() for name, value in values.items()}
    return metrics["test"] | named


def members() -> dict[str, type[Train]]:
    """`recserve train <system>` for each system, by name."""
    return {system.name: _member(system) for system in SYSTEMS.values()}


def _member(system: System) -> type[Train]:
    """With the system's own configuration."""
    return dataclasses.make_dataclass(
        f"Train{system.name.title().replace('_', '')}",
        [("config", system.config, field(default=system.config()))],
        bases=(Train,),
        namespace={"system": system, "__doc__": f"Train {system.title}."},
        frozen=True,
        kw_only=True,
    )
