"""Errors that are the user's: of flags, of files, of data, of what is not installed."""


class UserError(ValueError):
    """Something that the user can put right; its text is all that a script prints.

    The text says what was got, what was wanted, and which file, line or flag it is
    about. A fault of the program is any other exception, and keeps its traceback.
    """


class MissingFile(UserError, FileNotFoundError):
    """A file or folder that is needed and is not there."""


class MissingExtra(UserError, ImportError):
    """A package that is needed for what was asked for and is not installed."""


def check_count(name: str, value: int) -> None:
    """Refuses what is no whole number of at least 1; `name` is what users call it."""
    if not isinstance(value, int) or value < 1:
        raise UserError(f"{name}={value!r}; wanted a whole number of at least 1")
