"""Certificates are tried before a server starts: each fault is one line that names the file."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from recserve.cli import main
from recserve_client import Tls
from serving.server import ServerOptions
from serving.tls import ServerTls
from tests.production.certificates import by_the_book, issued

pytestmark = pytest.mark.production
NOW = datetime.now(UTC).replace(tzinfo=None)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_the_book(tmp_path_factory.mktemp("book"))


@pytest.fixture
def folder(book: Path, tmp_path: Path) -> Path:
    """A copy of the page's, to be damaged."""
    return Path(shutil.copytree(book, tmp_path / "certificates"))


def _with_passphrase(folder: Path) -> None:
    words = ["openssl", "ec", "-in", folder / "server.key", "-out", folder / "new.key", "-aes128", "-passout", "pass:x"]
    subprocess.run(words, check=True, capture_output=True)
    (folder / "new.key").replace(folder / "server.key")


def _of_another_authority(folder: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(folder / "ca.crt"))


def _directory(folder: Path) -> None:
    (folder / "server.crt").unlink()
    (folder / "server.crt").mkdir()


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, r"there is no folder .*certificates; it holds server.crt and server.key"),
    "no certificate": (lambda f: (f / "server.crt").unlink(), r"server.crt is missing"),
    "no key": (lambda f: (f / "server.key").unlink(), r"server.key is missing"),
    "unreadable": (_directory, r"server.crt cannot be read: Is a directory"),
    "no PEM": (lambda f: (f / "server.crt").write_bytes(b"\x30\x82"), r"server.crt is no certificate in PEM form"),
    "two swapped": (
        lambda f: shutil.copyfile(f / "server.crt", f / "server.key"),
        r"server.key is no private key in PEM",
    ),
    "another key": (lambda f: shutil.copy(f / "client.key", f / "server.key"), r"server.key does not fit .*server.crt"),
    "open to others": (lambda f: (f / "server.key").chmod(0o604), r"server.key can be read by others; chmod 600 it"),
    "passphrase": (_with_passphrase, r"server.key has a passphrase"),
    "expired": (
        lambda f: issued(f, "localhost", begins=NOW - 9 * DAY, ends=NOW - DAY),
        r"server.crt: certificate has expired",
    ),
    "not yet valid": (
        lambda f: issued(f, "localhost", begins=NOW + DAY, ends=NOW + 9 * DAY),
        r"server.crt: certificate is not yet valid",
    ),
    "of no host": (lambda f: issued(f, "somebody@localhost"), r"server.crt is of no host"),
    "client of another authority": (_of_another_authority, r"client.crt is refused by ca.crt: .*issuer certificate"),
    "client without a key": (lambda f: (f / "client.key").unlink(), r"client.key cannot be read: No such file"),
    "no authority": (lambda f: (f / "ca.crt").write_text("none"), r"ca.crt is no certificate in PEM form"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_the_start_with_one_line(
    folder: Path, tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, said = FAULTS[fault]
    damage(folder)
    with pytest.raises(ValueError, match=said):
        ServerTls.read(folder)
    assert main(["serve", "--repository", str(tmp_path), "--tls", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_fits_says_whose_it_is_and_whether_clients_need_one(folder: Path) -> None:
    tls = ServerTls.read(folder)
    assert (tls.names, tls.is_mutual) == (("localhost", "127.0.0.1"), True)
    assert tls.concerns("127.0.0.1") == tls.concerns("0.0.0.0") == []
    (concern,) = tls.concerns("10.1.2.3")
    assert "is of localhost, 127.0.0.1 and not of 10.1.2.3" in concern
    (folder / "ca.crt").unlink()
    assert not ServerTls.read(folder).is_mutual
    # Clients find their own files in a folder, and say which are missing.
    (folder / "client.key").unlink()
    with pytest.raises(ValueError, match=r"client.key is missing, which belongs to .*client.crt"):
        Tls.folder(folder)


def test_a_name_with_a_star_and_a_near_end_are_told(tmp_path: Path) -> None:
    tls = ServerTls.read(issued(tmp_path / "star", "*.shop.example", begins=NOW - DAY, ends=NOW + 2 * DAY))
    assert (tls.names, tls.own.name) == (("*.shop.example",), "recserve.shop.example")
    (soon,) = tls.concerns("ranker.shop.example")
    assert "expires in 2.0 days" in soon or "expires in 1.9 days" in soon
    assert len(tls.concerns("shop.example")) == 2


@pytest.mark.parametrize(
    ("host", "options", "is_allowed"),
    [
        ("127.0.0.1", {}, True),
        ("localhost", {}, True),
        ("0.0.0.0", {}, False),
        ("10.1.2.3", {}, False),
        ("ranker.shop.example", {}, False),
        ("0.0.0.0", {"insecure": True}, True),
        ("0.0.0.0", {"tls": Path("certificates")}, True),
        ("0.0.0.0:8001", {"insecure": True}, False),
    ],
)
def test_plain_text_leaves_this_machine_only_if_that_is_said(host: str, options: dict, is_allowed: bool) -> None:
    if is_allowed:
        assert ServerOptions(host=host, **options).metrics_host == "127.0.0.1"
        return
    with pytest.raises(ValueError, match=f"host (is ')?{host}"):
        ServerOptions(host=host, **options)
