"""All commands by name: what `recserve --help` lists, and where each is, without importing any."""

from recserve.place import Group, Place
from recserve.studies.places import STUDIES

_DATA = {
    "add": Place(
        "Check a folder of own tables and add it as a data set under the name that its schema.toml has.",
        "recserve.commands.data.add:Add",
    ),
    "check": Place(
        "Check a folder of own tables: all that is wrong, and what each task can do with it. 1 where there are errors.",
        "recserve.commands.data.check:Check",
    ),
    "describe": Place(
        "Describe a data set: rows, users, items, time span, histories, test parts of the tasks, what is new, fields.",
        "recserve.commands.data.describe:Describe",
    ),
    "fetch": Place("Fetch a data set into the cache, checked by sha256.", "recserve.commands.data.fetch:Fetch"),
    "list": Place(
        "List the data sets, built-in and own, and whether they are there.", "recserve.commands.data.listing:List"
    ),
    "remove": Place(
        "Take own tables out of the list of data sets; the files stay where they are.",
        "recserve.commands.data.remove:Remove",
    ),
    "template": Place(
        "Write a commented schema.toml: an example to standard output, or a proposal into a folder of tables.",
        "recserve.commands.data.template:Template",
    ),
}

_EVENTS = {
    "load": Place(
        "Load the events of a data set as histories, and make a repository take more of them through gRPC.",
        "recserve.commands.events.load:Load",
    ),
    "push": Place(
        "Push the events of a file into a running server; 1 where some are refused. Pushing twice changes nothing.",
        "recserve.commands.events.push:Push",
    ),
    "follow": Place(
        "Push what arrives in a stream into a running server, until SIGINT or SIGTERM.",
        "recserve.commands.events.follow:Follow",
    ),
    "show": Place("Show what the store holds: of one user, or in all.", "recserve.commands.events.show:Show"),
    "drop": Place(
        "Forget the histories of a data set, or of one of its users; what a server is asked next, it answers without.",
        "recserve.commands.events.show:Drop",
    ),
}

_RELEASES = {
    "list": Place(
        "List the releases of a repository, with which is served, what they are of and what they reach.",
        "recserve.commands.releases.listing:List",
    ),
    "publish": Place(
        "Export a run, or the models of package.module:factory, beside what is served, which goes on.",
        "recserve.commands.releases.publish:Publish",
    ),
    "promote": Place(
        "Serve a published release; the one that is served stays loaded, and a running server misses no request.",
        "recserve.commands.releases.promote:Promote",
    ),
    "rollback": Place(
        "Serve the release before again; once more, and the one before that. Never forward: that is promote.",
        "recserve.commands.releases.rollback:Rollback",
    ),
    "golden": Place(
        "Publish a release again, with golden requests and the reference of its scores out of a log of requests.",
        "recserve.commands.releases.golden:Golden",
    ),
    "pull": Place(
        "Pull what an object store serves into a repository, which then serves it; cut off, the next one goes on.",
        "recserve.commands.releases.pull:Pull",
    ),
    "prune": Place(
        "Remove old releases and their user states; nothing else ever deletes one.",
        "recserve.commands.releases.prune:Prune",
    ),
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
    "live": Place(
        "Kill, hang, fill and wipe what carries events, while every answer is compared with a recomputation; then a "
        "soak.",
        "recserve.commands.bench_live:BenchLive",
    ),
    "abuse": Place(
        "Abuse the server while honest clients ask it: deadlines, cancels, closed channels, killed clients, bad "
        "requests.",
        "recserve.commands.bench_abuse:BenchAbuse",
    ),
    "edge": Place(
        "Kill, stop, freeze, shift and abuse two servers behind an edge, while clients ask each request once.",
        "recserve.commands.bench_edge:BenchEdge",
    ),
    "peers": Place(
        "Serve the same scorer with grpcio, LitServe, BentoML, MLServer and torch; measure all in turn on one core.",
        "recserve.commands.bench_peers:BenchPeers",
    ),
}

_EDGE = {
    "weight": Place(
        "Set the weights of servers, while the edge runs; a drained one takes requests again.",
        "recserve.commands.edge.shifting:Weight",
    ),
    "drain": Place(
        "Send servers nothing more, and return when what they were asked before is answered: then they may be stopped.",
        "recserve.commands.edge.shifting:Drain",
    ),
    "show": Place(
        "Show the servers of an edge: weights, which take requests, and what a running Envoy sees of them.",
        "recserve.commands.edge.shifting:Show",
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

COMMANDS = Group(
    "Recommendation models from PyTorch to tritonserver. --debug shows tracebacks.",
    {
        "demo": Place(
            "Fetch, train, export, prove, serve, rank, measure; writes <folder>/report.json and stops the server.",
            "recserve.commands.demo:Demo",
        ),
        "data": Group("Fetch, add, check and describe data sets.", _DATA),
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
        "gate": Place(
            "Compare figures of your own, numbers in a JSON file, with a baseline; exits with 1 where one is worse.",
            "recserve.commands.gate:Gate",
        ),
        "serve": Place(
            "Serve a model repository until SIGINT, SIGTERM or SIGHUP; a server that falls is started again.",
            "recserve.commands.serve:Serve",
        ),
        "edge": Group(
            "Run Envoy before several servers, shift their traffic, and take one out before it is stopped.",
            _EDGE,
            itself=Place(
                "Write Envoy's files for several servers, have Envoy check them, and run it until SIGINT, SIGTERM or "
                "SIGHUP.",
                "recserve.commands.edge.start:Start",
            ),
        ),
        "ask": Place(
            "Ask a served model: what a user may want of the candidates, or next, and why.",
            "recserve.commands.ask:Ask",
        ),
        "score": Place(
            "Score a table of users and items with a finished run, offline; the scores are those that would be served.",
            "recserve.commands.score:Score",
        ),
        "events": Group("Load, push, follow, show and drop what users do.", _EVENTS),
        "releases": Group(
            "Publish, pull, promote, roll back, list, prove anew and prune the releases of a repository.", _RELEASES
        ),
        "state": Group("Build, show and drop prestored user states.", _STATE),
        "bench": Group(
            "Measure latency and throughput of a model under load, against the floor; or break things.",
            _BENCH,
            itself=Place(
                "Measure one model: closed loops, then Poisson arrivals up to the highest rate within the p99 budget.",
                "recserve.commands.bench:Bench",
            ),
        ),
        "drift": Place(
            "Compare the requests of a log with the reference of the release that answered them.",
            "recserve.commands.drift:Drift",
        ),
        "kernels": Group("Tell what the hot ops cost, from static facts and by the clock.", _KERNELS),
        "study": Group("Draw one paper's picture: experiments beside the line of work.", STUDIES),
    },
)
