"""What a server's metrics say."""

import re
import urllib.request

_SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def read(url: str, name: str, **labels: str) -> float:
    """The sum over all series of that name that have these labels. Raises AssertionError where there is none."""
    with urllib.request.urlopen(url) as reply:
        text = reply.read().decode()
    found = [
        float(value)
        for family, said, value in _SERIES.findall(text)
        if family == name and labels.items() <= dict(_LABEL.findall(said)).items()
    ]
    assert found, f"no series {name} {labels}"
    return sum(found)
