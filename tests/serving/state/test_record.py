import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.state.record import Header, Key, decode_arrays, decode_key, digest_of, encode, encode_key, open_value

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
KEYS = st.builds(Key, st.text(min_size=1, max_size=60), INT64, INT64)
ARRAYS = st.dictionaries(
    st.text(max_size=20),
    hnp.arrays(
        st.sampled_from([np.float32, np.float16, np.int64, np.int32]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    max_size=4,
)
KEY = encode_key(Key("user_state", 1, 42))
HEADER = Header(1, b"digest00", 1_700_000_000_000)


def _state() -> dict[str, np.ndarray]:
    return {"keys": np.arange(6, dtype=np.float32).reshape(2, 3)}


@settings(deadline=None)
@given(KEYS)
def test_a_key_comes_back_from_its_bytes(key: Key):
    assert decode_key(encode_key(key)) == key


@settings(deadline=None)
@given(INT64, INT64, INT64)
def test_keys_sort_as_their_user_ids(stamp: int, one: int, other: int):
    keys = [encode_key(Key("m", stamp, user)) for user in (one, other)]
    assert (keys[0] < keys[1]) == (one < other)


def test_a_model_name_that_no_key_can_hold_is_refused():
    with pytest.raises(ValueError, match="256 bytes"):
        encode_key(Key("m" * 256, 1, 1))


@settings(deadline=None)
@given(KEYS, ARRAYS, st.binary(min_size=8, max_size=8))
def test_arrays_come_back_bit_for_bit(key: Key, arrays: dict[str, np.ndarray], digest: bytes):
    name = encode_key(key)
    value = memoryview(encode(name, Header(len(arrays), digest, 5), arrays, "float32"))
    header = open_value(name, value)
    assert header is not None
    assert header == Header(len(arrays), digest, 5)
    back = decode_arrays(value, header)
    assert list(back) == list(arrays)
    for array, read in zip(arrays.values(), back.values(), strict=True):
        assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_float16_halves_the_bytes_and_is_read_as_float32_within_its_precision():
    state = {"keys": np.linspace(-3, 3, 1000, dtype=np.float32), "stamp": np.array([1 << 40])}
    full, half = (encode(KEY, Header(2, b"digest00", 0), state, precision) for precision in ("float32", "float16"))
    assert len(full) - len(half) == 2000
    back = decode_arrays(memoryview(half), Header(2, b"digest00", 0))
    assert back["keys"].dtype == np.float32
    np.testing.assert_allclose(back["keys"], state["keys"], rtol=2**-11)
    assert back["stamp"] == 1 << 40


def test_a_number_that_float16_cannot_hold_is_refused_and_named():
    with pytest.raises(ValueError, match="array 'keys' has 70000"):
        encode(KEY, HEADER, {"keys": np.array([70000.0], np.float32)}, "float16")


def test_a_dtype_without_a_code_is_refused_and_named():
    with pytest.raises(ValueError, match="array 'keys' is float64"):
        encode(KEY, HEADER, {"keys": np.zeros(2)}, "float32")


def test_every_flipped_bit_and_every_cut_is_found():
    value = encode(KEY, HEADER, _state(), "float32")
    assert open_value(KEY, memoryview(value)) == HEADER
    for position in range(len(value)):
        flipped = bytearray(value)
        flipped[position] ^= 1 << (position % 8)
        assert open_value(KEY, memoryview(flipped)) is None
        assert open_value(KEY, memoryview(value)[:position]) is None


def test_a_value_under_another_users_key_is_not_taken():
    value = encode(KEY, HEADER, _state(), "float32")
    assert open_value(encode_key(Key("user_state", 1, 43)), memoryview(value)) is None


def test_a_value_of_an_unknown_format_is_not_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.state.record.FORMAT_VERSION", 1)
    value = encode(KEY, HEADER, _state(), "float32")
    monkeypatch.undo()
    assert open_value(KEY, memoryview(value)) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"history": np.array([[1, 2, 4]]), "length": np.array([[3]])},
        {"history": np.array([[1], [2], [3]]), "length": np.array([[3]])},
        {"history": np.array([[1, 2, 3]], np.int32), "length": np.array([[3]])},
        {"items": np.array([[1, 2, 3]]), "length": np.array([[3]])},
    ],
    ids=["element", "shape", "dtype", "name"],
)
def test_the_digest_changes_with_the_history(changed: dict[str, np.ndarray]):
    history = {"history": np.array([[1, 2, 3]]), "length": np.array([[3]])}
    assert digest_of(history) != digest_of(changed)
    assert digest_of(history) == digest_of(dict(reversed(history.items())))
