"""All commands by name: what `recserve --help` lists, and where each is, without importing any."""

from collections.abc import Mapping
from typing import NamedTuple


class Place(NamedTuple):
    """A command that is not imported yet."""

    description: str
    """The first line of its docstring."""
    where: str
    """package.module:Class"""


class Group(NamedTuple):
    """A command that has commands."""

    description: str
    members: "Mapping[str, Place | Group]"
    made: str | None = None
    """package.module:function that gives further members, class by name, for what is registered elsewhere."""


_DATA = {
    "fetch": Place("Fetch a data set into the cache, checked by sha256.", "recserve.commands.data:Fetch"),
    "list": Place("List the data sets and whether they are in the cache.", "recserve.commands.data:List"),
}

_STATE = {
    "build": Place(
        "Compute the states of all users who lack one, with the repository's encoder in this process.",
        "recserve.commands.state:Build",
    ),
    "show": Place("Show what the store holds: of one user, or in all.", "recserve.commands.state:Show"),
    "drop": Place(
        "Delete stored states; the server computes them again when they are asked for.",
        "recserve.commands.state:Drop",
    ),
}

_BENCH = {
    "faults": Place(
        "Break things under load: roll-outs, crashes, killed and frozen processes, signals, full queues, a soak.",
        "recserve.commands.bench_faults:BenchFaults",
    ),
    "abuse": Place(
        "Abuse the server while honest clients ask it: deadlines, cancels, closed channels, killed clients, bad "
        "requests.",
        "recserve.commands.bench_abuse:BenchAbuse",
    ),
    "peers": Place(
        "Serve the same scorer with grpcio, LitServe, BentoML and MLServer, and measure all in turn on the same core.",
        "recserve.commands.bench_peers:BenchPeers",
    ),
}

_KERNELS = {
    "report": Place(
        "Table of op, architecture and configuration; compiles all kernels, needs no GPU.",
        "recserve.commands.kernels:Report",
    ),
    "bench": Place(
        "Time the hot ops, each after its answer was compared with the reference; exits with 1 where one is wrong.",
        "recserve.commands.kernels:Bench",
    ),
}

_PLANTED = {
    "collapse": Place(
        "Train DEA, make one field's table rank one, and show how the filter closes on that field (10 s).",
        "recserve.studies.planted.command:Collapse",
    ),
    "pairs": Place(
        "Train DEA with and without codebooks on labels that only pairs of ids explain (20 s).",
        "recserve.studies.planted.command:Pairs",
    ),
}

_STUDY = {
    "lrea-length": Place(
        "Time DIN, softmax attention and LREA's forms against the length of the history, 1,000 candidates each.",
        "recserve.studies.lrea_length.command:LreaLength",
    ),
    "planted": Group("Train DEA on data with planted structure, and draw what its parts do.", _PLANTED),
    "matt-cost": Place(
        "Time each base's graph and MATT around it, in this process and through the server, p50 of one request.",
        "recserve.studies.matt_cost.command:MattCost",
    ),
    "codebooks": Place(
        "Show how runs of tokenizers use their codebooks, beside LETTER's published ids where the data set is beauty.",
        "recserve.studies.codebooks.command:Codebooks",
    ),
    "corp": Place(
        "Measure pruned share, hit rate and latency of a reg4rec run against theta, and draw them.",
        "recserve.studies.corp.command:Corp",
    ),
    "decoding": Place(
        "Time one request of REG4Rec: the served graph, and beam search around a graph of one step.",
        "recserve.studies.decoding.command:Decoding",
    ),
    "sanity": Place(
        "Train DeepFM on random parts of MovieLens-100k and compare its AUC with three public libraries'.",
        "recserve.studies.sanity:Sanity",
    ),
    "sanity-sequences": Place(
        "Show recorded results of sequence models beside published ones; trains nothing.",
        "recserve.studies.sanity_sequences:SanitySequences",
    ),
}

COMMANDS = Group(
    "Recommendation models from PyTorch to tritonserver. --debug shows tracebacks.",
    {
        "demo": Place(
            "Fetch, train, export, prove, serve, rank, measure; writes <folder>/report.json and stops the server.",
            "recserve.commands.demo:Demo",
        ),
        "data": Group("Fetch and list data sets.", _DATA),
        "systems": Place(
            "List all systems with their published results (mean and standard deviation over seeds).",
            "recserve.commands.systems:Systems",
        ),
        "train": Group("Train a system or a baseline.", {}, "recserve.commands.train:members"),
        "evaluate": Place("Measure a finished run again.", "recserve.commands.evaluate:Evaluate"),
        "export": Place(
            "Export a run, or the models of package.module:factory, and publish them as a new version.",
            "recserve.commands.export:Export",
        ),
        "parity": Place(
            "Prove that what is served equals what was trained; exits with 1 on the first broken rung.",
            "recserve.commands.parity:Parity",
        ),
        "serve": Place(
            "Serve a model repository on loopback until SIGINT, SIGTERM or SIGHUP; a server that falls is started "
            "again.",
            "recserve.commands.serve:Serve",
        ),
        "rank": Place("Rank what a user has not seen yet.", "recserve.commands.rank:Rank"),
        "explain": Place(
            "Show the paths of one request to a running MATT: kept fields, confidence, share, score, and the spread.",
            "recserve.commands.explain:Explain",
        ),
        "generate": Place(
            "Generate the next items for a user, or for a history.", "recserve.commands.generate:Generate"
        ),
        "state": Group("Build, show and drop prestored user states.", _STATE),
        "bench": Group(
            "Measure latency and throughput under load, against the floor.", _BENCH, "recserve.commands.bench:members"
        ),
        "kernels": Group("Tell what the hot ops cost, from static facts and by the clock.", _KERNELS),
        "study": Group("Draw one paper's picture: experiments beside the line of work.", _STUDY),
    },
)
