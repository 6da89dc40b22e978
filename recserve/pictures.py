"""What a command may call a picture that it draws."""

from pathlib import Path

_FORMATS = (".png", ".svg", ".pdf")


def check_picture(path: Path) -> None:
    """Raises ValueError, before anything is drawn, for a name that says no format, and where its folder is missing."""
    if path.suffix not in _FORMATS:
        raise ValueError(f"--out is {path}; its name must end in one of {', '.join(_FORMATS)}")
    if not path.parent.is_dir() or path.is_dir():
        raise ValueError(f"--out is {path}; {'it is a folder' if path.is_dir() else 'make its folder first'}")
