"""Installed packages that hold data: found, not imported."""

import importlib.util
import pathlib
import sys
from collections.abc import Mapping

from errors import MissingExtra


def folder_of(package: str) -> pathlib.Path | None:
    """The folder of a package; None if it is not installed."""
    spec = importlib.util.find_spec(package)
    return pathlib.Path(spec.submodule_search_locations[0]) if spec else None


def folders_of(wanted: Mapping[str, str], command: str) -> dict[str, pathlib.Path]:
    """The folders of packages.

    Args:
      wanted: package -> what pip installs. Dependencies are not: files are only read.
      command: what installs them, as well.

    Raises:
      MissingExtra: names all that are not installed.
    """
    found = {package: folder_of(package) for package in wanted}
    if missing := [wanted[package] for package in found if found[package] is None]:
        raise MissingExtra(
            f"not installed: {', '.join(missing)}; `{command}` installs them, or: "
            f"{sys.executable} -m pip install --no-deps {' '.join(missing)}"
        )
    return found
