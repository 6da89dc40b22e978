"""`recserve train SYSTEM`: one run, or several seeds with their mean and spread."""

import dataclasses
import os
import shlex
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from recserve import results
from recserve.commands.command import Command, show, table
from recserve.runs import Plan, load_data
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
    dataset: str | None = None
    """Data set by name (recserve data list); the task's own by default."""
    until: str | None = None
    """Day, YYYY-MM-DD: only events before it are read, and ids, codes and parts are made of those; all by default. The
    ids of a built-in data set are those of its published tables on any day."""
    init_from: Path | None = None
    """Folder of a finished run to start from; rows of tables are matched by raw id."""
    seed: int = 0
    """Seed of everything random."""
    seeds: int = 1
    """Number of seeds to train, from `seed` on; mean and spread are reported."""
    runs: Path = Path("runs")
    """Folder of the runs: each goes to RUNS/<system>/<data set>-<configuration>-s<seed>."""
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
    tables: Literal["whole", "row-wise"] = "whole"
    """Place of tables by id of 1,024 rows and more: whole in each process of torchrun, or with rows spread over all."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"--seeds is {self.seeds}; it must be at least 1")
        if self.resume and self.overwrite:
            raise ValueError("--resume and --overwrite contradict each other; choose one")
        if self.record:
            self._refuse_unlike_others()

    def _refuse_unlike_others(self) -> None:
        """A published result is of all events, from first weights, by one process, so that it compares with others."""
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        named = {"--until": self.until is not None, "--init-from": self.init_from is not None, "torchrun": several}
        if given := [name for name, there in named.items() if there]:
            raise ValueError(
                "--record publishes what all events and fresh weights give in one process; leave out "
                + " and ".join(given)
            )

    def _check_start(self) -> None:
        """Raises ValueError for a run to start from that is another system's, or that would be written over."""
        if self.init_from is None or not (self.init_from / "run.json").is_file():
            return
        info = checkpoint.load_info(self.init_from)
        if info.system != self.system.name:
            raise ValueError(
                f"--init-from {self.init_from} is a run of {info.system} on {info.dataset}, not of {self.system.name}"
            )
        folders = [self._plan(seed).folder(self.runs).resolve() for seed in range(self.seed, self.seed + self.seeds)]
        if self.init_from.resolve() in folders:
            raise ValueError(
                f"--init-from {self.init_from} is the folder that the new run would go to; name other --runs "
                "or another --seed"
            )

    def run(self) -> int:
        self._check_start()
        results_of = [self._train(seed) for seed in range(self.seed, self.seed + self.seeds)]
        if int(os.environ.get("RANK", "0")) > 0:  # under torchrun one process speaks for all
            return 0
        metrics = [result.metrics for result in results_of]
        summary = summarise(metrics)
        columns = ["metric", *(f"seed {self.seed + n}" for n in range(self.seeds))]
        named = [name for name in metrics[0]["test"] if name not in self.system.task.only_drawn]
        rows = [[name, *(one["test"][name] for one in metrics)] for name in named]
        if self.seeds > 1:
            columns += ["mean", "std"]
            rows = [[*row, summary[row[0]]["mean"], summary[row[0]]["std"]] for row in rows]
        title = f"{self.system.name} on the test part of {self._plan(self.seed).dataset}"
        show(self.console, table(title, columns, rows))
        for result in results_of:
            self.console.print(f"run: {result.run}", highlight=False)
        if self.record:
            results.record(self._result(summary, results_of))
        self.emit({"runs": [result.run for result in results_of], "metrics": metrics, "test": summary})
        return 0

    def _plan(self, seed: int) -> Plan:
        return Plan(self.system, self.dataset or self.system.task.default, self.config, seed, self.until)

    def _train(self, seed: int) -> FitResult:
        plan = self._plan(seed)
        folder = plan.folder(self.runs)
        if self.record:
            self._refuse_warm_upstream(plan)
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
        return self._fit(plan)

    def _fit(self, plan: Plan) -> FitResult:
        """Trains, or goes on where a run of this folder stopped, or reads a finished one back."""
        folder = plan.folder(self.runs)
        if not checkpoint.is_finished(folder):
            self._fit_upstream(plan)
        options = FitOptions(
            run=folder,
            seed=plan.seed,
            resume=(folder / "run.json").is_file(),
            max_epochs=self.max_epochs,
            checkpoint_every=self.checkpoint_every,
            until=plan.until,
            init_from=self.init_from if plan.system is self.system else None,
            accelerator=self.accelerator,
            tables=self.tables if plan.system is self.system else "whole",
            quiet=self.json,
        )
        return fit(plan.system, plan.config, load_data(plan, self.runs), options)

    def _fit_upstream(self, plan: Plan) -> None:
        """Trains the runs that this one builds on, where they have not finished."""
        for needed in plan.upstream():
            folder, name = needed.folder(self.runs), needed.system.name
            if (folder / "run.json").is_file():
                self._check_epochs(folder)
            if not checkpoint.is_finished(folder):
                self.console.print(f"{plan.system.name} builds on {name}, which is trained first", highlight=False)
                self._fit(needed)

    def _refuse_warm_upstream(self, plan: Plan) -> None:
        """Raises ValueError where a run that this one builds on started from another's weights: no command says so."""
        for needed in plan.upstream():
            folder = needed.folder(self.runs)
            before = checkpoint.load_info(folder).init_from if (folder / "run.json").is_file() else None
            if before is not None:
                raise ValueError(
                    f"--record: {folder}, which {plan.system.name} builds on, started from {before}; name other --runs"
                )
            self._refuse_warm_upstream(needed)

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
            task=self.system.task.name,
            dataset=self._plan(self.seed).dataset,
            system=self.system.name,
            variant=self.system.variant(self.config),
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
        options = {
            "--dataset": self.dataset,
            "--seed": self.seed or None,
            "--seeds": self.seeds,
            "--max-epochs": self.max_epochs,
            "--accelerator": None if self.accelerator == "cpu" else self.accelerator,
        }
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
    return {name: results.spread(values) for name, values in columns.items()}


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
        namespace={"system": system, "__doc__": f"Train {system.name}: {system.title}.{_for_a_gpu(system)}"},
        frozen=True,
        kw_only=True,
    )


def _for_a_gpu(system: System) -> str:
    """The paragraph of the help that has the words of such a run."""
    if system.gpu is None:
        return ""
    words = shlex.join(gpu_words(system))
    return f"\n\nThe defaults are for two CPU cores. A run for a GPU, which here was only started: {words}"


def gpu_words(system: System) -> list[str]:
    """The command of a run with the configuration for an accelerator."""
    changed = changed_options(system.gpu, system.config())
    return ["recserve", "train", system.name, *changed, "--accelerator", "auto"]
