"""Variables of the environment by which an object store is reached: checked before they are used, named when it fails.

The package that speaks the protocol panics on an endpoint without a scheme and on a key with a line break, and of what
fails it tells its own addresses, not what an operator may set.
"""

import os
import re
from urllib.parse import urlsplit

ENDPOINT = "AWS_ENDPOINT_URL"
ACCESS, SECRET, SESSION = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
CREDENTIALS = (SECRET, SESSION, ACCESS)
_ENDPOINTS = (ENDPOINT, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
"""All that the package reads."""
_WORDS = (*CREDENTIALS, "AWS_REGION", "AWS_DEFAULT_REGION")
_FORM = "write http://HOST:PORT or https://HOST:PORT, as http://127.0.0.1:9000"
_LINE = re.compile(r"[!-~]*")
_IDENTITY = re.compile(r"169\.254\.\d+\.\d+|Missing (SecretAccessKey|AccessKeyId)")
"""Where the identity of a machine or a pod is asked for, because no credentials were given, or half of them."""
_MISSING = re.compile(r"^NotFound|NoSuchBucket|status code: 404")
_REFUSED = re.compile(r"^PermissionDenied|^Unauthenticated|status code: 40[13]")


def check() -> None:
    """Raises ValueError naming the variable; what it holds only where that is no secret."""
    for name in _ENDPOINTS:
        if (text := os.environ.get(name)) is not None:
            _check_endpoint(name, text)
    for name in _WORDS:
        if not _LINE.fullmatch(os.environ.get(name, "")):
            raise ValueError(f"{name} holds a space, a line break or a letter that is none of ASCII; set it anew")


def _check_endpoint(name: str, text: str) -> None:
    if "@" in text:
        raise ValueError(f"{name} holds a user; {_FORM}, and give credentials in {ACCESS} and {SECRET}")
    try:
        parts = urlsplit(text)
        told = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        told = False
    if not told or not _LINE.fullmatch(text):
        raise ValueError(f"{name} is '{text}', which is no address of an object store; {_FORM}")


def is_plain() -> bool:
    """Whether the store is asked without TLS, because its address says so."""
    return any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)


def remedy(bucket: str, reason: str) -> str:
    """What is wrong and what to set, in words; `reason` is what the package said."""
    endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS)), None)
    where = endpoint or f"Amazon S3 ({ENDPOINT} is not set)"
    if _IDENTITY.search(reason):
        return f"no credentials for {where}: set {ACCESS} and {SECRET}, or give this machine or pod an identity"
    if _REFUSED.search(reason):
        return f"{where} refuses the credentials: those of {ACCESS} and {SECRET} must be allowed to list and to read"
    if _MISSING.search(reason):
        return f"{where} has no bucket {bucket}, or no such object in it: see the URL and {ENDPOINT}"
    if "redirect" in reason:
        return f"the bucket {bucket} is in another region of {where}: set AWS_REGION"
    if "error sending req" in reason or "HTTP error" in reason:
        return f"{where} does not answer: see {ENDPOINT}, and whether the store runs there"
    return f"{where} failed: see {ENDPOINT} and AWS_REGION"
