"""The command line: `recserve COMMAND ...`; `--help` after any command says more."""

# pyright: reportInvalidTypeForm=false
# tyro prints a comment behind a field as its help, so the switch for AnyTrain, made from the registry, stands here.

import contextlib
import io
import re
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from tyro.conf import FlagCreatePairsOff, OmitSubcommandPrefixes, subcommand

from recserve.commands import kernels, planted, state
from recserve.commands.bench import AnyScenario
from recserve.commands.bench_abuse import BenchAbuse
from recserve.commands.bench_decoding import BenchDecoding
from recserve.commands.bench_faults import BenchFaults
from recserve.commands.bench_length import BenchLength
from recserve.commands.bench_paths import BenchPaths
from recserve.commands.bench_peers import BenchPeers
from recserve.commands.codebooks import Codebooks
from recserve.commands.command import Command
from recserve.commands.corp import Corp
from recserve.commands.data.add import Add
from recserve.commands.data.check import Check
from recserve.commands.data.describe import Describe
from recserve.commands.data.fetch import Fetch
from recserve.commands.data.listing import List
from recserve.commands.data.remove import Remove
from recserve.commands.data.template import Template
from recserve.commands.demo import Demo
from recserve.commands.evaluate import Evaluate
from recserve.commands.explain import Explain
from recserve.commands.export import Export
from recserve.commands.generate import Generate
from recserve.commands.parity import Parity
from recserve.commands.rank import Rank
from recserve.commands.sanity import Sanity
from recserve.commands.sequence_sanity import SequenceSanity
from recserve.commands.serve import Serve
from recserve.commands.systems import Systems
from recserve.commands.train import AnyTrain
from serving.errors import ServingError, StartupError
from serving.state_source import EncoderError
from serving.state_store import StateStoreError

USE_ERROR = 2
SERVER_ERROR = 1
EXPECTED = (ValueError, OSError, ServingError, StateStoreError, EncoderError)
"""What a user can cause; anything else is our fault and shows its traceback."""


@dataclass(frozen=True)
class DataGroup:
    """Data sets."""

    command: (
        Annotated[Add, subcommand("add")]
        | Annotated[Check, subcommand("check")]
        | Annotated[Describe, subcommand("describe")]
        | Annotated[Fetch, subcommand("fetch")]
        | Annotated[List, subcommand("list")]
        | Annotated[Remove, subcommand("remove")]
        | Annotated[Template, subcommand("template")]
    )


@dataclass(frozen=True)
class StateGroup:
    """Prestored user states."""

    command: (
        Annotated[state.Build, subcommand("build")]
        | Annotated[state.Show, subcommand("show")]
        | Annotated[state.Drop, subcommand("drop")]
    )


@dataclass(frozen=True)
class KernelsGroup:
    """Hot ops: static figures and timings."""

    command: Annotated[kernels.Report, subcommand("report")] | Annotated[kernels.Bench, subcommand("bench")]


@dataclass(frozen=True)
class TrainGroup:
    """Train a system or a baseline."""

    command: AnyTrain


@dataclass(frozen=True)
class BenchGroup:
    """Latency and throughput under load, against the floor."""

    command: (
        AnyScenario
        | Annotated[BenchFaults, subcommand("faults")]
        | Annotated[BenchAbuse, subcommand("abuse")]
        | Annotated[BenchLength, subcommand("lrea-length")]
        | Annotated[BenchPaths, subcommand("matt-cost")]
        | Annotated[BenchPeers, subcommand("peers")]
        | Annotated[BenchDecoding, subcommand("reg4rec-decoding")]
    )


@dataclass(frozen=True)
class PlantedGroup:
    """Experiments on data with planted structure, with pictures."""

    command: Annotated[planted.Collapse, subcommand("collapse")] | Annotated[planted.Pairs, subcommand("pairs")]


_GROUPS = (BenchGroup, DataGroup, KernelsGroup, PlantedGroup, StateGroup, TrainGroup)

Commands = (
    Annotated[DataGroup, subcommand("data")]
    | Annotated[TrainGroup, subcommand("train")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Parity, subcommand("parity")]
    | Annotated[Serve, subcommand("serve")]
    | Annotated[Rank, subcommand("rank")]
    | Annotated[Explain, subcommand("explain")]
    | Annotated[Generate, subcommand("generate")]
    | Annotated[StateGroup, subcommand("state")]
    | Annotated[Sanity, subcommand("sanity")]
    | Annotated[Codebooks, subcommand("codebooks")]
    | Annotated[Corp, subcommand("corp")]
    | Annotated[SequenceSanity, subcommand("sanity-sequences")]
    | Annotated[Systems, subcommand("systems")]
    | Annotated[BenchGroup, subcommand("bench")]
    | Annotated[KernelsGroup, subcommand("kernels")]
    | Annotated[PlantedGroup, subcommand("planted")]
    | Annotated[Demo, subcommand("demo")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 2 for an error of use, 1 for a server that fails.

    Either is one line on standard error; --debug shows the traceback instead.
    """
    if threading.current_thread() is threading.main_thread():
        # As Ctrl-C does: what was started, a server or a load, is stopped before this process ends.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        return _parse([word for word in words if word != "--debug"]).run()
    except KeyboardInterrupt:
        return 130
    except StartupError as error:
        if debug:
            raise
        complain(str(error))
        return SERVER_ERROR
    except EXPECTED as error:
        if debug:
            raise
        return complain(" ".join(str(error).split()) or type(error).__name__)


def complain(text: str) -> int:
    """Prints an error of use as one line and returns its exit code."""
    Console(stderr=True, soft_wrap=True).print(f"[red]error:[/] {escape(text)}", highlight=False)
    return USE_ERROR


def _parse(words: list[str]) -> Command:
    """Raises ValueError for arguments that are wrong, and SystemExit where --help was asked for."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = tyro.cli(
                FlagCreatePairsOff[OmitSubcommandPrefixes[Commands]],  # pyright: ignore[reportInvalidTypeArguments]
                prog="recserve",
                description="Recommendation models from PyTorch to tritonserver. --debug shows tracebacks.",
                args=words,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(_first_of_box(said.getvalue())) from stop
    return parsed.command if isinstance(parsed, _GROUPS) else parsed


def _first_of_box(box: str) -> str:
    """What is wrong, and where to read on, out of tyro's error box: title, reason and advice between rulers."""
    title, reason, *advice = re.split(r"[─-]{5,}", re.sub(r"[│╭╮╰╯]", " ", box))
    if "Required options" in title:
        # What each is for stands below it, further in; --help says it better.
        reason = re.sub(r"^ {9,}.*$", "", reason, flags=re.MULTILINE)
    reason = re.sub(r"^Error parsing __tyro\S*: ", "", " ".join(reason.split())).rstrip(".")
    helps = re.search(r"recserve[\w -]* --help", " ".join(advice))
    return f"{reason}; see {helps.group() if helps else 'recserve --help'}"
