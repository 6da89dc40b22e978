"""Ids as a caller has them, whole numbers or text, as a model takes them."""

import operator
from typing import Any

import numpy as np

from recserve_client import texts
from recserve_client.errors import InvalidRequest

_LEAST, _MOST = -(2**63), 2**63 - 1
_KINDS = {"b": "truth values", "f": "fractions", "c": "complex numbers", "M": "dates", "m": "times"}


def listed(where: str, value: Any, datatype: str) -> np.ndarray:
    """[n], int64 or text (`str` in an array of objects): ids in a list, an array, a torch tensor, or a single one.

    Args:
        where: what the ids are, for errors.
        value: the ids.
        datatype: INT64 or BYTES, which the model takes.

    Raises:
        InvalidRequest: they are of another kind; names the first that is.
    """
    array = _flat(where, value)
    if datatype == "BYTES":
        return _of_text(where, array)
    if array.dtype.kind == "O":
        _refuse_others(where, array)
    if array.dtype.kind not in "iu" and array.size:
        raise InvalidRequest(f"{where}: {_KINDS.get(array.dtype.kind, array.dtype)}; the model takes ids of int64")
    if array.dtype.kind == "u" and array.size and int(array.max()) > _MOST:
        raise InvalidRequest(f"{where}: {int(array.max())} is beyond int64, which the model takes")
    return array.astype(np.int64)


def single(where: str, value: Any, datatype: str) -> np.ndarray:
    """[1] of one id; see `listed`."""
    array = listed(where, value, datatype)
    if array.size != 1:
        raise InvalidRequest(f"{where}: {array.size} ids; send one")
    return array


def as_text(where: str, value: Any) -> str:
    """One id, a whole number in decimal digits. Raises InvalidRequest."""
    if isinstance(value, str | bytes | np.str_ | np.bytes_):
        (found,) = _of_text(where, np.array([value], object))
        return found
    if not isinstance(value, bool | np.bool_):
        try:
            number = operator.index(value)
        except (TypeError, ValueError, RuntimeError):
            pass
        else:
            if _LEAST <= number <= _MOST:
                return str(number)
    raise InvalidRequest(f"{where} is {value!r}; an id is text, or a whole number of int64")


def _flat(where: str, value: Any) -> np.ndarray:
    if isinstance(value, str | bytes):
        return np.array([value], object)
    if isinstance(value, np.ma.MaskedArray | dict | set | frozenset):
        raise InvalidRequest(f"{where} is a {type(value).__name__}; send a list or an array of ids, in order")
    if isinstance(value, list | tuple) and any(isinstance(one, bool) for one in value):
        # numpy would make ids 0 and 1 of them.
        raise InvalidRequest(f"{where}: truth values; send ids")
    try:
        array = np.asarray(value)
        if array.dtype.kind in "US" and not isinstance(value, np.ndarray | np.generic):
            # numpy would turn the numbers among strings into strings, and cut off NULs.
            array = np.asarray(value, object)
    except Exception as error:  # whatever the value's own conversion raises
        raise InvalidRequest(f"{where} is no list of ids ({error}); send a list or an array") from error
    if array.ndim > 1:
        raise InvalidRequest(f"{where} has shape {list(array.shape)}; send ids of one request, in one row")
    return array.reshape(-1).astype(object) if array.dtype.kind in "US" else array.reshape(-1)


def _of_text(where: str, array: np.ndarray) -> np.ndarray:
    if array.size == 0:
        return np.empty(0, object)
    for one in array.tolist():
        if not isinstance(one, str | bytes):
            raise InvalidRequest(f"{where}: {one!r} is a {type(one).__name__}; the model takes ids of text")
    try:
        texts.check(array)
    except ValueError as error:
        raise InvalidRequest(f"{where}: {error}") from None
    return texts.decoded(array)


def _refuse_others(where: str, array: np.ndarray) -> None:
    for one in array.tolist():
        if isinstance(one, bool) or not isinstance(one, int):
            raise InvalidRequest(f"{where}: {one!r} is a {type(one).__name__}; the model takes ids of int64")
    raise InvalidRequest(f"{where}: an id is beyond int64, which the model takes")
