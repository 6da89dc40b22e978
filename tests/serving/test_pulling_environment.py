"""The environment by which an object store is reached, and what is said of a store that fails."""

import re

import pytest
from obstore.exceptions import BaseError, GenericError, NotFoundError, PermissionDeniedError

from serving.pulling.environment import CREDENTIALS
from serving.pulling.objects import Objects, _told

URL = "s3://models/shop"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOWHERE)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "classified")


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
@pytest.mark.parametrize(
    "text", ["minio:9000", "127.0.0.1:9000", "nonsense", "", "http://", "http://a b:1", "http://a:99999", "ftp://a:1"]
)
def test_an_endpoint_that_is_none_is_one_line_that_names_the_variable_and_the_form(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ValueError, match=rf"^{name} is '{re.escape(text)}'.*write http://HOST:PORT or https://HOST"):
        Objects.at(URL)


def test_a_password_in_an_endpoint_is_refused_and_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://somebody:classified@127.0.0.1:9000")
    with pytest.raises(ValueError, match=r"^AWS_ENDPOINT_URL holds a user") as raised:
        Objects.at(URL)
    assert "classified" not in str(raised.value)


@pytest.mark.parametrize("name", [*CREDENTIALS, "AWS_REGION"])
def test_a_line_break_in_a_variable_is_found_before_the_package_panics(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "classified\n")
    with pytest.raises(ValueError, match=rf"^{name} holds a space, a line break") as raised:
        Objects.at(URL)
    assert "classified" not in str(raised.value)


SAID: dict[str, tuple[BaseError, str]] = {
    "nobody there": (GenericError("HTTP error: error sending request"), f"{NOWHERE} does not answer: see AWS_ENDPOINT"),
    "no credentials": (
        GenericError("Error performing PUT http://169.254.169.254/latest/api/token in 2s - HTTP error"),
        "no credentials .*set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    "half of them": (GenericError("Missing SecretAccessKey"), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    "wrong ones": (PermissionDeniedError("403 Forbidden"), "refuses the credentials: those of AWS_ACCESS_KEY_ID"),
    "no bucket": (NotFoundError("NoSuchBucket"), f"{NOWHERE} has no bucket models.*see the URL and AWS_ENDPOINT_URL"),
    "another region": (GenericError("Received redirect without LOCATION"), "bucket models .*set AWS_REGION"),
    "anything else": (GenericError("in 403.5ms: bad"), f"{NOWHERE} failed: see AWS_ENDPOINT_URL and AWS_REGION"),
}


@pytest.mark.parametrize("fault", SAID)
def test_a_store_that_fails_is_told_with_what_to_set(fault: str) -> None:
    error, text = SAID[fault]
    with pytest.raises(OSError, match=rf"^{URL}/lrea: .*{text}"), _told(f"{URL}/lrea"):
        raise error


def test_a_panic_of_the_package_is_an_error_too() -> None:
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(OSError, match=rf"^{URL}: {NOWHERE} failed: .*PanicException"), _told(URL):
        raise panic("unwrap")
    with pytest.raises(KeyboardInterrupt), _told(URL):
        raise KeyboardInterrupt


def test_without_an_endpoint_the_store_is_amazon_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with pytest.raises(OSError, match=r"Amazon S3 \(AWS_ENDPOINT_URL is not set\) does not answer"), _told(URL):
        raise GenericError("HTTP error")
