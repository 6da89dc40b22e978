"""What a command may call a picture that it draws, and a result with a picture beside it."""

from pathlib import Path

STUDY_RESULTS = Path("runs/studies")
"""Folder of results of studies; those that are published are copied into the checkout by hand."""
_FORMATS = (".png", ".svg", ".pdf")


def check_picture(path: Path, option: str = "--out") -> None:
    """Raises ValueError, before anything is drawn, for a name that says no format, and where its folder is missing."""
    if path.suffix not in _FORMATS:
        raise ValueError(f"{option} is {path}; its name must end in one of {', '.join(_FORMATS)}")
    if not path.parent.is_dir() or path.is_dir():
        raise ValueError(f"{option} is {path}; {'it is a folder' if path.is_dir() else 'make its folder first'}")


def check_output(path: Path) -> None:
    """Raises ValueError, before anything is measured, for the name of a result that is no .json, and where no file can
    be; its picture lies beside it, and its folder is made."""
    if path.suffix != ".json":
        raise ValueError(f"--output is {path}; its name must end in .json, and the picture lies beside it as .svg")
    if path.is_dir():
        raise ValueError(f"--output is {path}; it is a folder")
    if file := next((parent for parent in path.parents if parent.exists() and not parent.is_dir()), None):
        raise ValueError(f"--output is {path}; {file} is a file, no folder")
