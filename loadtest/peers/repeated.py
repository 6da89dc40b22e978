"""A visit by h2load: one request, over and over, in closed loops."""

import math
from collections.abc import Mapping

import numpy as np

from loadtest.driver import Load
from loadtest.peers import h2load
from loadtest.peers.plan import PERCENTILES, Plan, Target, Visit
from loadtest.peers.transports import WIRES
from loadtest.pool import Pool
from loadtest.server_side import cpu_seconds
from loadtest.transports import transport
from serving import golden
from serving.direct import DirectModel
from serving.readiness import TOLERANCE


def visit(target: Target, load: Load, plan: Plan) -> Visit:
    """By h2load: one request of the pool with so many candidates, whose answer is compared before."""
    pool = Pool.load(load.pool)
    request = pool.requests[0].inputs
    inputs = {**request, "candidates": np.resize(request["candidates"], (1, plan.candidates))}
    wrong = _differs(target, pool.model, inputs, load)
    wire = WIRES[target.transport](pool.model, inputs)
    cores = load.cores
    whole = h2load.drive(target.url, wire, 1, plan.warm_up, cores)
    before = cpu_seconds(target.pid)
    found = {users: h2load.drive(target.url, wire, users, plan.seconds, cores) for users in plan.users}
    spent = cpu_seconds(target.pid) - before
    answered = sum(one.rate * plan.seconds for one in found.values())
    kept = [one.rate for one in found.values() if one.percentiles.get("p99_ms", math.inf) <= plan.p99_budget_ms]
    return Visit(
        throughput=max(kept, default=0.0),
        cpu_seconds=1e3 * spent / max(answered, 1),
        closed={users: {p: one.percentiles.get(p, math.nan) for p in PERCENTILES} for users, one in found.items()},
        wrong=wrong,
        errors=sum(one.failed + (not one.like(whole, users)) for users, one in found.items()),
        late=False,
    )


def _differs(target: Target, model: str, inputs: Mapping[str, np.ndarray], load: Load) -> int:
    """1 where the answer is not that of the model in this process."""
    connection = transport(target.transport)(target.url)
    try:
        answer = connection.infer(model, inputs)
    finally:
        connection.close()
    expected = DirectModel.open(load.pool.parent / "repository" / model).run([inputs])[0]
    return 0 if golden.compare(expected, answer, TOLERANCE).ok else 1
