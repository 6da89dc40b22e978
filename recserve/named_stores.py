"""Stores that options name: their URLs, checked before anything starts."""

from collections.abc import Callable
from pathlib import Path

from serving import state as states
from serving.histories import opening


def state_of(repository: Path, state: str | None) -> str:
    """The URL of the store of user states that --state names, else of the repository's own.

    Raises ValueError naming the option, and what is wrong with its value.
    """
    return _checked("--state", states.url_of(state), states.check_url) if state else states.beside(repository)


def histories_of(repository: Path, histories: str | None) -> str:
    """The URL of the store of histories that --histories names, else of the repository's own; raises likewise."""
    return _checked("--histories", histories, opening.check_url) if histories else opening.histories_beside(repository)


def _checked(option: str, url: str, check: Callable[[str], None]) -> str:
    try:
        check(url)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
    return url
