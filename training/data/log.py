"""The events of a data set in order, and each one's past, as arrays.

Events are kept by (user, time, order, published row), so that the events of one user that are strictly older than one
of them are a contiguous range: a batch of histories is a gather of windows. What shares a time with an event is not in
its past, for nobody knows which came first.

Axes: N events, H events that histories consist of, B samples, L history.
"""

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view

from serving.histories.reading import older
from training.interactions import by_user

TRAIN_SHARE, VALIDATION_SHARE = 0.8, 0.1


class Log:
    """All events as arrays [N] in the order of `by_user`."""

    def __init__(self, events: pl.DataFrame) -> None:
        """`events` has columns user, item, time and label, and where there are values, value, as
        `training.interactions.Interactions.events`."""
        user, item, time = (events[name].to_numpy().astype(np.int64) for name in ("user", "item", "time"))
        self.row: np.ndarray = by_user(events)
        """Place in the published order."""
        self.user, self.item, self.time = (values[self.row] for values in (user, item, time))
        self.label: np.ndarray = events["label"].to_numpy().astype(np.float32)[self.row]
        """float32, 0 or 1"""
        # No number made of user and time: the product of two int64 ids does not fit into an int64.
        new_user = _changes(self.user)
        self.past_start: np.ndarray = _latest(new_user)
        self.past_end: np.ndarray = _latest(new_user | _changes(self.time))
        """The events strictly older than event n of the same user are [past_start[n], past_end[n])."""
        self.in_time: np.ndarray = np.lexsort((self.row, self.time))
        """Places of the events by (time, published row)."""
        self._keep_histories(events)

    def _keep_histories(self, events: pl.DataFrame) -> None:
        """Where events have values, histories hold all of them; else the positive ones, with the value 1."""
        has_values = "value" in events.columns
        kept = np.ones(len(self), bool) if has_values else self.label > 0
        self._before: np.ndarray = np.append(0, np.cumsum(kept))
        values = events["value"].to_numpy().astype(np.int64)[self.row] if has_values else kept.astype(np.int64)
        self._newest_first = self.item[kept][::-1], values[kept][::-1], self.time[kept][::-1]
        self._padded, self._padding = self._newest_first, 0

    def __len__(self) -> int:
        return len(self.user)

    def of(self, user: int) -> slice:
        """The places of one user's events; empty for an unknown user."""
        return slice(*(int(np.searchsorted(self.user, user, side=side)) for side in ("left", "right")))

    def past(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Start and end int64 [B] of the histories before the events at these places, to be given to `windows`."""
        return self._before[self.past_start[places]], self._before[self.past_end[places]]

    def all_of(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Start and end int64 [len(users)] of the histories that hold all events of these users."""
        starts, ends = (np.searchsorted(self.user, users, side) for side in ("left", "right"))
        return self._before[starts], self._before[ends]

    def windows(self, ends: np.ndarray, lengths: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Items and values int64 [B, width] of the `lengths` newest events before `ends`, newest first, then zeros."""
        items, values = self._windows(ends, width)[:2]
        beyond = np.arange(width) >= lengths[:, None]
        items[beyond] = 0
        values[beyond] = 0
        return items, values

    def ages(self, ends: np.ndarray, lengths: np.ndarray, width: int) -> np.ndarray:
        """int64 [B, width]: how much older than the newest of a window each of its events is, in the data set's unit of
        time, then zeros."""
        if not width:
            return np.zeros((len(ends), 0), np.int64)
        times = self._windows(ends, width)[2]
        ages = older(times[:, :1], times)
        ages[np.arange(width) >= lengths[:, None]] = 0
        return ages

    def _windows(self, ends: np.ndarray, width: int) -> tuple[np.ndarray, ...]:
        """Items, values and times [B, width] up to `ends`, newest first, whosever they are."""
        if width > self._padding:
            # Once for the widest, as a copy for each batch would cost more than the batch.
            self._padding = width
            zeros = np.zeros(width, np.int64)
            self._padded = tuple(np.concatenate((kept, zeros)) for kept in self._newest_first)
        first = len(self._newest_first[0]) - ends
        return tuple(sliding_window_view(kept, width)[first] for kept in self._padded)


def _changes(values: np.ndarray) -> np.ndarray:
    """bool [N]: whether each value is another one than that before it; the first is."""
    return np.append(True, values[1:] != values[:-1])[: len(values)]


def _latest(marks: np.ndarray) -> np.ndarray:
    """int64 [N]: the last marked place up to each place; the first one is marked."""
    return np.maximum.accumulate(np.where(marks, np.arange(len(marks)), 0))


def parts_by_time(dataset: str, log: Log) -> list[np.ndarray]:
    """Places of the events of train, validation and test, int64 [len] each, in the order of (time, published row).

    Raises ValueError for an empty part.
    """
    times = log.time[log.in_time]
    borders = [_border(times, share) for share in (TRAIN_SHARE, TRAIN_SHARE + VALIDATION_SHARE)]
    parts = np.split(log.in_time, borders)
    if not all(map(len, parts)):
        raise ValueError(f"{dataset}: too few distinct times among {len(log)} events to split by time")
    return parts


def _border(times: np.ndarray, share: float) -> int:
    """Events in the earlier part: the share, and every event at the moment of the last of them."""
    count = max(1, round(len(times) * share))
    return int(np.searchsorted(times, times[count - 1], side="right"))
