"""The client for programs of asyncio: the same calls, awaited."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Self, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from recserve_client import events as reported
from recserve_client import questions as asked
from recserve_client.async_channels import AsyncCalls, close_all
from recserve_client.connections import Connections
from recserve_client.core import Ask, Pause, Result, Send, Steps, with_id
from recserve_client.described import Description, ModelMetadata
from recserve_client.events import Event, Observed
from recserve_client.outcomes import Outcome
from recserve_client.questions import Question, Ranked, Suggested


class AsyncClient(Connections[AsyncCalls]):
    """Connections to one server or more; may be shared by the tasks of one event loop, in which it is to be closed.

    As `Client`. A task that is cancelled while it waits ends its wait; the call goes on, as after a deadline.
    """

    _channel = AsyncCalls

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the channels after the calls under way, for which it waits up to 10 s."""
        await close_all(self._calls.values())

    async def rank(  # noqa: PLR0913 - a word each of what a caller says
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
        """As `Client.rank`."""
        ask = self._core.ask(deadline_s, request_id, headers)
        named = {asked.USER: user, asked.CANDIDATES: items}
        question = Question(model, dataset, named, context or {})
        return await self._run(asked.rank(self._core, ask, question), ask)

    async def generate(  # noqa: PLR0913 - a word each of what a caller says
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
        """As `Client.generate`."""
        ask = self._core.ask(deadline_s, request_id, headers)
        named = {asked.HISTORY: history, asked.USER: user}
        question = Question(model, dataset, named, context or {})
        return await self._run(asked.generate(self._core, ask, question, k), ask)

    async def next_question(  # noqa: PLR0913 - a word each of what a caller says
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
        """As `Client.next_question`."""
        ask = self._core.ask(deadline_s, request_id, headers)
        named = {asked.USER: student, asked.QUESTIONS: questions, asked.HISTORY: history, asked.RESPONSES: responses}
        question = Question(model, dataset, named, context or {})
        return await self._run(asked.next_question(self._core, ask, question, target), ask)

    async def observe(
        self,
        user: SupportsIndex | str,
        events: Sequence[Event],
        *,
        dataset: str,
        deadline_s: float | None = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Observed:
        """As `Client.observe`."""
        ask = self._core.ask(deadline_s, request_id, headers)
        return await self._run(reported.observe(self._core, ask, user, events, dataset), ask)

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: str = "",
        deadline_s: float | None = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, np.ndarray]:
        """As `Client.infer`."""
        ask = self._core.ask(deadline_s, request_id, headers)
        return (await self._run(self._core.infer(model, version, inputs, ask), ask)).outputs

    async def describe(self, model: str) -> Description:
        """As `Client.describe`."""
        ask = self._core.ask()
        return await self._run(self._core.describe(model, ask), ask)

    async def metadata(self, model: str) -> ModelMetadata:
        """As `Client.metadata`."""
        ask = self._core.ask()
        return await self._run(self._core.metadata(model, ask), ask)

    async def server_ready(self) -> bool:
        """As `Client.server_ready`."""
        ask = self._core.ask()
        return await self._run(self._core.server_ready(ask), ask)

    async def model_ready(self, model: str) -> bool:
        """As `Client.model_ready`."""
        ask = self._core.ask()
        return await self._run(self._core.model_ready(model, ask), ask)

    async def _run(self, steps: Steps[Result], ask: Ask) -> Result:
        steps = with_id(steps, ask)
        try:
            step = next(steps)
            while True:
                try:
                    outcome = await self._perform(step)
                except Outcome as failure:
                    step = steps.throw(failure)
                else:
                    step = steps.send(outcome)
        except StopIteration as done:
            return done.value

    async def _perform(self, step: Send | Pause) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        return await self._calls[step.url].call(step.method, step.request, step.headers, step.seconds)
