"""Headers that stand in a file."""

import re
from pathlib import Path

import pytest

from recserve_client import headers


def test_a_file_has_a_header_in_each_line(tmp_path: Path) -> None:
    path = tmp_path / "headers"
    path.write_text("# of the canary\n\nX-Release: canary\n  # more\n traceparent :  00-1-1:01 \n")
    path.chmod(0o644)
    assert headers.read(path) == {"x-release": "canary", "traceparent": "00-1-1:01"}
    path.write_text("")
    assert headers.read(path) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x-release: a\nsecret", "headers, line 2: write name: value, such as x-release: canary"),
        ("authorization:", "headers, line 1: header authorization is empty, or no printable ASCII text"),
        ("authorization: s\u00e9cret", "headers, line 1: header authorization is empty, or no printable ASCII text"),
        ("x release: secret", "headers, line 1: header 'x release': a name has letters, digits"),
        ("grpc-timeout: 1m", "headers, line 1: header 'grpc-timeout': .* none of gRPC's own"),
        ("x-request-id: secret", "headers, line 1: header x-request-id: say request_id="),
        ("a: secret\nb: secret\nA: secret", "headers, line 3: header a is there twice; leave one of them"),
    ],
)
def test_what_is_no_header_is_named_by_its_line_and_no_value_is_shown(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "headers").write_text(text)
    with pytest.raises(ValueError, match=said) as caught:
        headers.read(tmp_path / "headers")
    assert not re.search("s.cret", str(caught.value))


@pytest.mark.parametrize("name", ["Authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "headers"
    path.write_text(f"x-release: canary\n{name}: secret")
    path.chmod(0o604)
    with pytest.raises(
        ValueError, match=rf"headers holds the header {name.lower()} and can be read by others; chmod 600"
    ):
        headers.read(path)
    path.chmod(0o600)
    assert headers.read(path)[name.lower()] == "secret"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="headers cannot be read: No such file or directory; name a file with name: val"
    ):
        headers.read(tmp_path / "headers")
    (tmp_path / "headers").write_bytes(b"\xff: 1")
    with pytest.raises(ValueError, match="headers cannot be read: it is no text"):
        headers.read(tmp_path / "headers")
