"""The requests of the comparison: what a ranker's scorer gets, the user's state beside the candidates."""

from pathlib import Path

from loadtest.pool import Pool, Request
from loadtest.scenario import Direct, steps_of, with_states
from serving.direct import DirectModel
from serving.state import builder
from serving.state.users import Users


def scorer_of(repository: Path) -> str:
    """The last step of the repository's ranker. Raises ValueError as `with_states`."""
    return steps_of(repository / with_states(repository, None).model)[-1].model_name


def distribution(repository: Path) -> str:
    """What the requests are drawn from, in words."""
    return f"{with_states(repository, None).distribution(repository)}; the user's state travels with the request"


def pool(repository: Path, seed: int) -> Pool:
    """The ranker's requests with the state in place of the user, and the scorer's answers."""
    ranker, scorer = with_states(repository, None), scorer_of(repository)
    reader = next(step.model_name for step in steps_of(repository / ranker.model) if step.model_name != scorer)
    source = builder.latest(repository, reader)
    encoder, direct = DirectModel.open(repository / source.spec.encoder), Direct(repository / scorer)
    users, requests = Users(repository, source), []
    for inputs in ranker.requests(repository, seed):
        found = source.find(users.dense(users.named(inputs["user_id"].item())))
        state = encoder.run([source.histories.empty if found is None else found.inputs])[0]
        request = {"candidates": inputs["candidates"], **state}
        requests.append(Request(request, (direct.run(request),)))
    return Pool(scorer, requests)
