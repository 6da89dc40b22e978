"""The name of a symbolic axis of a served model, with bounds of its size."""

from typing import Self


class Axis(str):
    """The name of a symbolic axis that bounds its size: `Axis("length", least=1, greatest=200)`.

    What one tensor says of an axis holds for all inputs that have an axis of this name.
    """

    def __new__(cls, name: str, least: int = 0, greatest: int | None = None) -> Self:
        axis = super().__new__(cls, name)
        axis.least, axis.greatest = least, greatest
        return axis

    least: int
    greatest: int | None
