"""What a command may call a picture that it draws, and a result with a picture beside it."""

from pathlib import Path

_FORMATS = (".png", ".svg", ".pdf")


def check_picture(path: Path) -> None:
    """Raises ValueError, before anything is drawn, for a name that says no format, and where its folder is missing."""
    if path.suffix not in _FORMATS:
        raise ValueError(f"--out is {path}; its name must end in one of {', '.join(_FORMATS)}")
    if not path.parent.is_dir() or path.is_dir():
        raise ValueError(f"--out is {path}; {'it is a folder' if path.is_dir() else 'make its folder first'}")


def check_output(path: Path) -> None:
    """Raises ValueError, before anything is measured, for the name of a result that is no .json, and where its folder
    is missing; its picture lies beside it."""
    if path.suffix != ".json":
        raise ValueError(f"--output is {path}; its name must end in .json, and the picture lies beside it as .svg")
    if not path.parent.is_dir() or path.is_dir():
        raise ValueError(f"--output is {path}; {'it is a folder' if path.is_dir() else 'make its folder first'}")
