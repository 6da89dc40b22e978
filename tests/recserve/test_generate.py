"""What `recserve generate` refuses before it asks a server; tests/serving/test_generation.py has the rest."""

import pytest

from recserve.cli import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say for whom: --user ID, or --history ITEM"),
        (["--history"], "say for whom: --user ID, or --history ITEM ... with at least one item"),
        (["--user", "1", "--history", "2"], "--user and --history are both given; choose one"),
        (["--history", "2", "--then-rank"], "--then-rank ranks for a user; add --user ID"),
        (["--user", "1", "--top", "0"], "--top is 0; it must be at least 1"),
        (["--user", "1", "--system", "lrea"], "--system lrea does not generate"),
    ],
)
def test_a_question_that_makes_no_sense_is_an_error_of_use(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "--dataset", "beauty", *words]) == 2
    assert said in capsys.readouterr().err


def test_an_id_beyond_64_bits_is_an_error_of_use(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--user", str(2**63)], ["--history", "1", str(-(2**63) - 1)]):
        assert main(["generate", *words]) == 2
        assert f"{words[0]} {words[-1]} is no id: ids are whole numbers of 64 bits" in capsys.readouterr().err
