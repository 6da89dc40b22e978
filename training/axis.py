"""The name of a symbolic axis of a served model, with what is known of its size."""

from typing import Self


class Axis(str):
    """The name of a symbolic axis that bounds its size, `Axis("length", least=1, greatest=200)`, or follows another's:
    `Axis("masks", of="candidates", times=8)` has 8 elements for each candidate of a request.

    What one tensor says of an axis holds for all inputs that have an axis of this name.
    """

    def __new__(
        cls, name: str, least: int = 0, greatest: int | None = None, *, of: str | None = None, times: int = 1
    ) -> Self:
        axis = super().__new__(cls, name)
        axis.least, axis.greatest, axis.of, axis.times = least, greatest, of, times
        return axis

    least: int
    greatest: int | None
    of: str | None
    """The axis that this one follows; None for one whose size is its own."""
    times: int
