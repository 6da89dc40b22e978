"""`recserve study freshness`, in its short form."""

from pathlib import Path

import pytest

from recserve.studies.freshness.command import Freshness

pytestmark = pytest.mark.long


@pytest.mark.triton_server
@pytest.mark.slow(15)
def test_the_whole_run(two_releases: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "freshness.json"
    study = Freshness(repository=two_releases, users=6, events=2, rate=50.0, phase=1.0, output=output)
    assert study.run() == 0
    assert output.is_file()
    picture = output.with_suffix(".svg").read_text()
    assert "66 of 66 answers equal the recomputation bit for bit" in picture
