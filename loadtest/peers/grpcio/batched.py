"""The grpcio server with a batcher: a queue, and one thread that runs all that waits in it at once."""

from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread

import numpy as np

from loadtest.peers.grpcio.server import serve
from loadtest.peers.scorer import MAX_BATCH_SIZE, Scorer, arguments, onnx_scorer

Job = tuple[dict[str, np.ndarray], Future[np.ndarray]]


class Batcher:
    """Batches form while the run before them takes place, so no request ever waits for company."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._waiting: SimpleQueue[Job] = SimpleQueue()
        Thread(target=self._run, daemon=True).start()

    def score(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """scores [1, n] of one request; blocks the calling thread."""
        future: Future[np.ndarray] = Future()
        self._waiting.put((inputs, future))
        return future.result()

    def _run(self) -> None:
        while True:
            jobs = self._take()
            try:
                answers = self._scorer.score([inputs for inputs, _ in jobs])
            except Exception as error:
                for _, future in jobs:
                    future.set_exception(error)
            else:
                for (_, future), answer in zip(jobs, answers, strict=True):
                    future.set_result(answer)

    def _take(self) -> list[Job]:
        jobs = [self._waiting.get()]
        try:
            while len(jobs) < MAX_BATCH_SIZE:
                jobs.append(self._waiting.get_nowait())
        except Empty:
            pass
        return jobs


def main() -> None:
    model, port = arguments()
    # A thread for each request that waits, or no batch would ever be full.
    serve(Batcher(onnx_scorer(model)).score, MAX_BATCH_SIZE, port)


if __name__ == "__main__":
    main()
