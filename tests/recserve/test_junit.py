"""The ladder as CI services read it."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from export.rungs import Row
from recserve.cli import main
from recserve.junit import write_ladder


def test_a_broken_rung_is_a_failure_with_its_request(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "parity.xml"
    fine = Row("two_tower", "export", True, 0.0, 0.0, "golden 0, scores[0, 0]")
    broken = Row("topics", "served", False, 0.5, 0.25, "golden 3: expected 'a\x00b<&', got 'ä'")
    write_ladder(path, [fine, broken])
    (suite,) = ElementTree.parse(path).getroot()
    assert suite.attrib == {"name": "parity", "tests": "2", "failures": "1", "errors": "0"}
    assert [(one.get("classname"), one.get("name"), len(one)) for one in suite] == [
        ("two_tower", "export", 0),
        ("topics", "served", 1),
    ]
    assert suite[1][0].tag == "failure"
    assert suite[1][0].get("message") == "off by 5.0e-01 (relative): golden 3: expected 'a?b<&', got 'ä'"


def test_a_ladder_that_cannot_be_walked_is_an_error_in_the_file_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "reports" / "parity.xml"
    assert main(["parity", "--repository", str(tmp_path / "none"), "--junit", str(path)]) == 2
    (suite,) = ElementTree.parse(path).getroot()
    assert suite.attrib == {"name": "parity", "tests": "1", "failures": "0", "errors": "1"}
    assert suite[0][0].tag == "error"
    assert f"error: {suite[0][0].get('message')}" == capsys.readouterr().err.strip()
