"""A client of models that tritonserver serves, over gRPC: typed, with a deadline on every call, and retries.

The deadline is the caller's: it is not sent to the server, and a call that passes it is not cancelled, since either
kills tritonserver 2.51 (see `recserve_client.channels`). Nothing of gRPC starts at import, so a gevent program can call
`grpc.experimental.gevent.init_gevent()` before it makes its first `Client`. Such a program must close its clients: an
open channel keeps it from ending.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from recserve_client import events as reported
from recserve_client import questions as asked
from recserve_client.channels import Calls, close_all
from recserve_client.connections import Connections
from recserve_client.core import Ask, Pause, Result, Send, Steps, with_id
from recserve_client.described import Description, ModelMetadata
from recserve_client.events import Event, Observed
from recserve_client.outcomes import Outcome
from recserve_client.questions import Question, Ranked, Suggested


class Client(Connections[Calls]):
    """Connections to one server or more; may be shared by threads.

    Every method raises a `ServingError`: `ServerUnavailable` where nobody answers, `DeadlineExceeded` where the
    answer takes longer than the deadline. Arguments of every call beside what it asks:

        deadline_s: seconds until this call gives up; the client's own where None.
        request_id: by which the logs of edge and server know the request; a new one where None.
        headers: sent with this call beside the client's.
    """

    _channel = Calls

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the channels after the calls under way, for which it waits up to 10 s."""
        close_all(self._calls.values())

    def rank(  # noqa: PLR0913 - a word each of what a caller says
        self,
        user: Any,
        items: Any,
        *,
        model: str,
        dataset: str | None = None,
        context: Mapping[str, Any] | None = None,
        deadline_s: float | None = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Ranked:
        """The items by what the user may want of them, best first.

        Args:
            user: an id; one whom the model does not know has an empty history.
            items: ids in a list, a numpy array or a torch tensor; one that the model does not know is scored so.
            model: a served model of the task click.
            dataset: whose ids these are; a model of another one is refused.
            context: further inputs of the model by name, such as {"page": "home"}.

        Raises:
            InvalidRequest: the model is of another data set or task, takes ids of another kind, or takes more.
        """
        ask = self._core.ask(deadline_s, request_id, headers)
        named = {asked.USER: user, asked.CANDIDATES: items}
        question = Question(model, dataset, named, context or {})
        return self._run(asked.rank(self._core, ask, question), ask)

    def generate(  # noqa: PLR0913 - a word each of what a caller says
        self,
        history: Any = None,
        *,
        user: Any = None,
        model: str,
        dataset: str | None = None,
        k: int | None = None,
        context: Mapping[str, Any] | None = None,
        deadline_s: float | None = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Ranked:
        """The items that may come next, best first.

        Args:
            history: ids of items, oldest first, as `rank` takes them; for models that take a history.
            user: an id; for models that take one.
            model: a served model of the task next_item or retrieval.
            dataset: whose ids these are; a model of another one is refused.
            k: items at most; all that the model lists where None.
            context: further inputs of the model by name, such as {"theta": 0.1}.

        Raises:
            InvalidRequest: the model is of another data set or task, takes ids of another kind, or takes more.
        """
        ask = self._core.ask(deadline_s, request_id, headers)
        named = {asked.HISTORY: history, asked.USER: user}
        question = Question(model, dataset, named, context or {})
        return self._run(asked.generate(self._core, ask, question, k), ask)

    def next_question(  # noqa: PLR0913 - a word each of what a caller says
        self,
        student: Any,
        questions: Any,
        *,
        model: str,
        target: float = 0.7,
        dataset: str | None = None,
        history: Any = None,
        responses: Any = None,
        context: Mapping[str, Any] | None = None,
        deadline_s: float | None = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Suggested:
        """The questions by nearness of the probability that the student answers right, the one to ask next first.

        Args:
            student: an id; one whom the model does not know has answered nothing.
            questions: ids in a list, a numpy array or a torch tensor; one that the model does not know is asked as
                such.
            model: a served model of the task tracing: one whose server keeps what students answered, or one that is
                sent it.
            target: the probability that is wanted.
            dataset: whose ids these are; a model of another one is refused.
            history: ids of the questions that the student answered, oldest first; for models that are sent them.
            responses: of each of them 1 where the answer was right, else 0.
            context: further inputs of the model by name.

        Raises:
            InvalidRequest: the model is of another data set or task, takes ids of another kind, or takes more; the
                target is no probability.
        """
        ask = self._core.ask(deadline_s, request_id, headers)
        named = {asked.USER: student, asked.QUESTIONS: questions, asked.HISTORY: history, asked.RESPONSES: responses}
        question = Question(model, dataset, named, context or {})
        return self._run(asked.next_question(self._core, ask, question, target), ask)

    def observe(
        self,
        user: SupportsIndex | str,
        events: Sequence[Event],
        *,
        dataset: str,
        deadline_s: float | None = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Observed:
        """Reports what a user did. Sending an event twice changes nothing, so it is safe to do so after an error.

        Raises:
            InvalidRequest: an event is none; names it and its field.
        """
        ask = self._core.ask(deadline_s, request_id, headers)
        return self._run(reported.observe(self._core, ask, user, events, dataset), ask)

    def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: str = "",
        deadline_s: float | None = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, np.ndarray]:
        """Sends one request and returns all outputs by name; arrays are read-only, those of text hold `str`.

        Args:
            model: name of the model.
            inputs: arrays or lists [batch, *shape]; a ragged input is [1, n]. Text is `str`, or `bytes` of UTF-8.
            version: version number; empty for the one that the model's version policy chooses.

        Raises:
            StaleState: a float output holds NaN.
            ServingError: any other, by what went wrong.
        """
        ask = self._core.ask(deadline_s, request_id, headers)
        return self._run(self._core.infer(model, version, inputs, ask), ask).outputs

    def describe(self, model: str) -> Description:
        """What a request of the model carries, and which task and data set it is of; believed for 5 s."""
        ask = self._core.ask()
        return self._run(self._core.describe(model, ask), ask)

    def metadata(self, model: str) -> ModelMetadata:
        """Versions and tensors of a model."""
        ask = self._core.ask()
        return self._run(self._core.metadata(model, ask), ask)

    def server_ready(self) -> bool:
        """Whether a server runs and all of its models are loaded; False where nobody answers. Raises NotAllowed where
        one answers and does not say it without a token."""
        ask = self._core.ask()
        return self._run(self._core.server_ready(ask), ask)

    def model_ready(self, model: str) -> bool:
        """Whether the server is willing to run this model."""
        ask = self._core.ask()
        return self._run(self._core.model_ready(model, ask), ask)

    def _run(self, steps: Steps[Result], ask: Ask) -> Result:
        steps = with_id(steps, ask)
        try:
            step = next(steps)
            while True:
                try:
                    outcome = self._perform(step)
                except Outcome as failure:
                    step = steps.throw(failure)
                else:
                    step = steps.send(outcome)
        except StopIteration as done:
            return done.value

    def _perform(self, step: Send | Pause) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        return self._calls[step.url].call(step.method, step.request, step.headers, step.seconds)
