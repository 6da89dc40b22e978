"""The log of requests: sampled, bounded, without names, and never in the way."""

import json
from pathlib import Path

import numpy as np
import pytest

from serving.histories.examples import example_ids
from serving.watch import records, request_log
from serving.watch.families import LOG_RECORDS
from serving.watch.pseudonyms import KEY_FILE, hashed, key_of, make_key
from serving.watch.request_log import VARIABLE, LogOptions, RequestLog, environment
from tests.serving.watch.counted import MetricFamily, counting

ITEMS = np.array([[3, 1, 2]])
SCORES = {"scores": np.array([[0.5, 0.25, 0.125]], np.float32)}


def written(options: LogOptions, requests: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """Logs requests to shop 2; what was counted, by outcome."""
    options.prepare()
    said: list[str] = []
    with counting() as prometheus:
        log = RequestLog(prometheus, "shop", "2", options, said.append)
        for inputs in requests:
            log.add(inputs, SCORES)
        log.close()
    assert len(said) <= 1
    return {outcome: MetricFamily.told[LOG_RECORDS.name, "shop", outcome] for outcome in request_log.OUTCOMES}


def asked(user: object) -> dict[str, np.ndarray]:
    return {"user_id": np.array([[user]], object if isinstance(user, str | bytes) else None), "candidates": ITEMS}


def read(folder: Path) -> list[records.Record]:
    return [records.read(place) for place in records.places(folder, "shop")]


def test_requests_are_read_as_they_were_answered_and_users_have_other_names(tmp_path: Path) -> None:
    assert written(LogOptions(folder=tmp_path, rate=1), [asked(7), asked(8), asked(7)])["written"] == 3
    found = read(tmp_path)
    users = [one.inputs["user_id"].item() for one in found]
    assert users[0] == users[2] != users[1]
    assert not {7, 8} & {*users}
    assert [one.version for one in found] == [2, 2, 2]
    assert all(np.array_equal(one.inputs["candidates"], ITEMS) for one in found)
    assert all(np.array_equal(one.outputs["scores"], SCORES["scores"]) for one in found)


def test_the_bytes_of_the_log_hold_no_name_of_a_user_unless_asked_for(tmp_path: Path) -> None:
    options = (LogOptions(folder=tmp_path / "hashed", rate=1), LogOptions(folder=tmp_path / "raw", rate=1, ids="raw"))
    for one, is_there in zip(options, (False, True), strict=True):
        folder = one.folder
        written(one, [asked("anna@example.org"), asked(b"anna@example.org")])
        content = b"".join(path.read_bytes() for path in folder.rglob(f"*{records.SUFFIX}"))
        assert (b"anna" in content) == is_there
        # What a client sends as bytes and as text is one user.
        assert len({one.inputs["user_id"].item() for one in read(folder)}) == 1


def test_golden_requests_of_users_are_no_traffic(tmp_path: Path) -> None:
    example = {"user_id": example_ids(np.array([[4]]), "int64"), "candidates": ITEMS}
    text = {"user_id": example_ids(np.array([[4]]), "string"), "candidates": ITEMS}
    assert written(LogOptions(folder=tmp_path, rate=1), [example, text, asked(1)])["written"] == 1


def test_a_hash_needs_the_key(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        make_key(tmp_path / name)
    keys = [key_of(tmp_path / name) for name in ("a", "b")]
    assert keys[0] is not None
    assert keys[1] is not None
    ids = np.array([[5], [2**62], [-3]])
    assert not set(hashed(keys[0], ids).ravel()) & set(hashed(keys[1], ids).ravel())
    assert (hashed(keys[0], ids) == hashed(keys[0], ids)).all()
    assert (hashed(keys[0], ids) >= 0).all()
    assert (tmp_path / "a" / KEY_FILE).stat().st_mode & 0o077 == 0
    make_key(tmp_path / "a")
    assert key_of(tmp_path / "a") == keys[0]


def test_a_share_of_the_requests_is_drawn(tmp_path: Path) -> None:
    counted = written(LogOptions(folder=tmp_path, rate=0.1), [asked(1)] * 2_000)
    # Five standard deviations of a binomial around 200.
    assert 133 < sum(counted.values()) < 267


def test_the_oldest_files_make_room(tmp_path: Path) -> None:
    big = {"user_id": np.array([[1]]), "candidates": np.zeros((1, 5_000), np.int64)}
    options = LogOptions(folder=tmp_path, rate=1, mib=1)
    for first in range(0, 200, 50):
        numbered = [{**big, "place": np.array([[first + number]])} for number in range(50)]
        assert written(options, numbered)["written"] == 50
    sizes = [path.stat().st_size for path in tmp_path.rglob(f"*{records.SUFFIX}")]
    assert sum(sizes) <= 2**20
    assert len(sizes) > 5
    places = [one.inputs["place"].item() for one in read(tmp_path)]
    assert places == [*range(200 - len(places), 200)]


def test_a_log_that_cannot_be_written_is_counted_and_told_once(tmp_path: Path) -> None:
    options = LogOptions(folder=tmp_path, rate=1)
    options.prepare()
    (tmp_path / "shop").write_text("in the way")
    assert written(options, [asked(1)] * 5) == {"written": 0, "dropped": 0, "failed": 5}


def test_what_the_writer_cannot_keep_up_with_is_dropped_and_nobody_waits(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(RequestLog, "_run", lambda self: None)
    with counting() as prometheus:
        log = RequestLog(prometheus, "shop", "2", LogOptions(folder=tmp_path, rate=1), lambda text: None)
        for _ in range(request_log._WAITING + 5):
            log.add(asked(1), SCORES)
    assert MetricFamily.told[LOG_RECORDS.name, "shop", "dropped"] == 5


def test_a_record_that_was_cut_off_is_not_there_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    written(LogOptions(folder=tmp_path, rate=1), [asked(1)] * 3)
    (path,) = tmp_path.rglob(f"*{records.SUFFIX}")
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    assert len(records.places(tmp_path, "shop")) == 2
    path.write_bytes(content[:-5] + b"damage"[:5])
    with pytest.raises(ValueError, match=r"is damaged .*its checksum is wrong.* remove the file"):
        read(tmp_path)
    with pytest.raises(ValueError, match="holds no request to 'other'"):
        records.places(tmp_path, "other")


def test_a_process_is_told_by_its_environment(tmp_path: Path, monkeypatch) -> None:
    options = LogOptions(folder=tmp_path, rate=0.5, ids="raw")
    monkeypatch.setenv(VARIABLE, environment(options)[VARIABLE])
    assert json.loads(environment(options)[VARIABLE])["folder"] == str(tmp_path)
    with counting() as prometheus:
        log = RequestLog.of_environment(prometheus, "shop", "2", lambda text: None)
        assert log is not None
        assert log._options == options
        log.close()
        monkeypatch.setenv(VARIABLE, environment(None)[VARIABLE])
        assert RequestLog.of_environment(prometheus, "shop", "2", lambda text: None) is None


@pytest.mark.parametrize(
    ("wrong", "said"), [({"rate": 0.0}, "--request-log-rate is 0"), ({"rate": 1.5}, "is 1.5"), ({"mib": 0}, "mib is 0")]
)
def test_wrong_options_are_refused_by_name(tmp_path: Path, wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LogOptions(folder=tmp_path, **wrong)


def test_a_folder_that_cannot_be_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"--request-log .*/file/log: Not a directory; name a folder to write in"):
        LogOptions(folder=tmp_path / "file" / "log").prepare()
