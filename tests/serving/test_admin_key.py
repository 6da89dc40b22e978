"""The key of the administrative APIs is made once, kept in a file of its owner alone, and opens them."""

import stat
from pathlib import Path

import pytest

from recserve_client.errors import InvalidRequest
from serving import admin_key
from serving.admin import Admin
from serving.server import ServerOptions, TritonServer


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    key = admin_key.read_or_make(tmp_path / "key")
    assert len(key) >= 16
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert admin_key.read_or_make(tmp_path / "key") == key
    assert admin_key.read_or_make(tmp_path / "other") != key


@pytest.mark.parametrize("text", ["", "short", "with a blank in between", "semi;colon-0123456789", "x" * 200])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(ValueError, match="holds no key: 16 to 128 letters"):
        admin_key.read_or_make(tmp_path / "key")


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing/key cannot be made: No such file or directory; name another"):
        admin_key.read_or_make(tmp_path / "missing" / "key")
    with pytest.raises(ValueError, match="is no file; name another one"):
        admin_key.read_or_make(tmp_path)
    (tmp_path / "bytes").write_bytes(bytes(range(128, 160)))
    (tmp_path / "bytes").chmod(0o600)
    with pytest.raises(ValueError, match="bytes holds no key"):
        admin_key.read_or_make(tmp_path / "bytes")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    admin_key.read_or_make(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(ValueError, match="can be read by others; chmod 600 it"):
        admin_key.read_or_make(tmp_path / "key")


@pytest.mark.triton_server
def test_the_key_of_the_file_opens_model_control(small_repository: Path, tmp_path: Path) -> None:
    key = admin_key.read_or_make(tmp_path / "key")
    options = ServerOptions(model_control="explicit", admin_key=key)
    with TritonServer(small_repository, options) as server, Admin(server.url, admin_key=key) as client:
        assert client.model_names() == ["scaled"]
        with Admin(server.url) as stranger, pytest.raises(InvalidRequest, match="restricted"):
            stranger.model_names()
