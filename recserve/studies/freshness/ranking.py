"""One user's ranking before and after events, each served and recomputed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from loadtest.live.scripts import Play, Script
from loadtest.live.traffic import Journal
from recserve_client import Client
from serving.events.pushing import Pusher

SHOWN = 10
"""Places of the ranking that a person looks at."""


def rankings(client: Client, play: Play, journal: Journal, number: int) -> dict[str, Any]:
    """Pushes the first `number` events of every user one by one, and asks after each: the served scores beside the
    recomputed ones, and the ranking of the user whose best items change most."""
    pusher, same, largest = Pusher(client, play.dataset), 0, 0.0
    served = []
    for place, script in enumerate(play.scripts):
        scores = [_asked(client, play, script)]
        for row in script.rows[:number]:
            (told,) = pusher.push([row])
            if told != "applied":
                raise ValueError(f"user {script.user}: an event was not taken: {told}")
            scores.append(_asked(client, play, script))
        wanted = script.expected[0, : number + 1]
        same += sum(np.array_equal(own, right) for own, right in zip(scores, wanted, strict=True))
        largest = max(largest, float(np.abs(np.stack(scores) - wanted).max()))
        journal.sent[place] = number
        journal.knows(place, number)
        served.append(scores)
    known = [place for place, one in enumerate(play.scripts) if play.interactions.dense("user", one.user)]
    shown = min(known, key=lambda place: _kept(served[place]))
    script, scores = play.scripts[shown], served[shown]
    items = script.request["candidates"].reshape(-1)
    return {
        "answers": len(served) * (number + 1),
        "bit_for_bit": same,
        "largest_difference": largest,
        "events": number,
        "user": script.user,
        "pushed": [row.item for row in script.rows[:number]],
        "best": _best(play, items, scores[0], scores[-1]),
    }


def _kept(scores: Sequence[np.ndarray]) -> int:
    """How many of the best items stay among the best."""
    before, after = (set(np.argsort(-scores[one])[:SHOWN].tolist()) for one in (0, -1))
    return len(before & after)


def _asked(client: Client, play: Play, script: Script) -> np.ndarray:
    return client.infer(play.model, dict(script.request))["scores"].reshape(-1)


def _best(play: Play, items: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[dict[str, Any]]:
    """The items that are among the best before or after, with their places and scores then."""
    ranked = [_ranked(items, scores) for scores in (before, after)]
    titles, found = play.interactions.titles, []
    for item in dict.fromkeys(one for places in ranked for one in [*places][:SHOWN]):
        found.append({"item": item, "title": titles[play.interactions.dense("item", item)]})
        for when, places in zip(("before", "after"), ranked, strict=True):
            place, score = places[item]
            found[-1] |= {when: place, f"score_{when}": round(score, 4)}
    return found


def _ranked(items: np.ndarray, scores: np.ndarray) -> dict[Any, tuple[int, float]]:
    """Place, from 1, and score of each item, best first; one that is asked about twice counts once."""
    best = dict(zip(items.tolist(), scores.tolist(), strict=True))
    ordered = sorted(best, key=lambda item: -best[item])
    return {item: (place, best[item]) for place, item in enumerate(ordered, 1)}
