"""The pages that readers get: README.md and docs/**/*.md, taken apart for the tests of them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")))
"""Paths from the root; their code blocks are run or checked."""
BESIDE = (
    "CONTRIBUTING.md",
    *sorted(str(p.relative_to(ROOT)) for f in ("client", "loadtest", "kernels") for p in (ROOT / f).rglob("*.md")),
)
"""Pages beside the code, whose links and names must hold too."""

_FENCE = re.compile(r"^```(.*)$")
_MARKER = re.compile(r"<!-- not run: (.+) -->")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block."""

    kind: str
    """The first word behind the fence."""
    label: str
    """The rest of that line."""
    text: str
    reason: str | None
    """Why it is neither run nor checked; None where no marker stands above it."""


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    info, inside, before = None, [], ""
    for line in text_of(page).splitlines():
        fence = _FENCE.match(line)
        if fence is None:
            inside.append(line)
            before = line if info is None else before
        elif info is None:
            info, inside = fence[1], []
        else:
            kind, _, label = info.partition(" ")
            marker = _MARKER.fullmatch(before.strip())
            found.append(Block(kind, label, "\n".join(inside) + "\n", marker[1] if marker else None))
            info, before = None, ""
    assert info is None, f"{page} ends inside a block"
    return found


def prose(page: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def spans(page: str) -> list[str]:
    """What stands in inline code, on one line each."""
    return [" ".join(span.split()) for span in _SPAN.findall(prose(page))]


def links(page: str) -> list[str]:
    """The targets of links and pictures that are not on the web."""
    found = _LINK.findall(_SPAN.sub("", prose(page)))
    return [target for target in found if not target.startswith(("http://", "https://"))]


def anchors(page: str) -> set[str]:
    """What GitHub makes of the page's headings."""
    counts: dict[str, int] = {}
    found = set()
    for heading in _HEADING.findall(prose(page)):
        name = anchor_of(heading)
        number = counts[name] = counts.get(name, -1) + 1
        found.add(f"{name}-{number}" if number else name)
    return found


def anchor_of(heading: str) -> str:
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
