"""URLs of stores, as they may be printed."""

from urllib.parse import unquote, urlsplit


def named(url: str) -> str:
    """The URL without user, password and parameters."""
    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else ""
    return f"{parts.scheme}://{host}{unquote(parts.path)}"
