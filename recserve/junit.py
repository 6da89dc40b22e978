"""The parity ladder in the form that CI services show beside their own tests: a case for each rung of each model."""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from export.rungs import Row
from training.checkpoint import write_bytes

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_ladder(path: Path, rows: Sequence[Row]) -> None:
    """Writes the rungs that were walked; a broken one is a failure that says the worst element and its request."""
    suite = ElementTree.Element("testsuite", name="parity")
    for row in rows:
        case = ElementTree.SubElement(suite, "testcase", classname=_text(row.model), name=row.rung)
        if not row.ok:
            message = _text(f"off by {row.worst:.1e} (relative): {row.where}")
            ElementTree.SubElement(case, "failure", message=message).text = message
    _write(path, suite, failures=sum(not row.ok for row in rows))


def write_error(path: Path, error: Exception) -> None:
    """Writes that the ladder could not be walked, and why."""
    suite = ElementTree.Element("testsuite", name="parity")
    case = ElementTree.SubElement(suite, "testcase", classname="parity", name="the ladder is walked")
    ElementTree.SubElement(case, "error", message=_text(str(error))).text = _text(str(error))
    _write(path, suite, errors=1)


def _write(path: Path, suite: ElementTree.Element, failures: int = 0, errors: int = 0) -> None:
    suite.attrib |= {"tests": str(len(suite)), "failures": str(failures), "errors": str(errors)}
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True) + b"\n")


def _text(said: str) -> str:
    """Without what XML cannot hold; an id of a request may be any text."""
    return _NOT_IN_XML.sub("?", said)
