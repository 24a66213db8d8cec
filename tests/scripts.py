"""Runs scripts inside the tests' process, where they would share one set of flags."""

import importlib
import pathlib
import sys
from types import ModuleType

from absl import flags
from tiny import ROOT

import command_line


def forget_flags() -> None:
    """Takes the flags of all scripts back, so that another one can define its own."""
    ours = {path.stem for path in ROOT.glob("*.py")} | {sys.argv[0]}
    ours |= {f"benchmarks.{path.stem}" for path in ROOT.glob("benchmarks/*.py")}
    for module, found in list(flags.FLAGS.flags_by_module_dict().items()):
        if module in ours or pathlib.Path(module).stem in ours:  # or run by its path
            for flag in list(found):
                delattr(flags.FLAGS, flag.name)


def load(name: str) -> ModuleType:
    """Imports a script anew, after forgetting the flags of all others."""
    forget_flags()
    if name in sys.modules:
        return importlib.reload(sys.modules[name])
    return importlib.import_module(name)


def run(name: str, *arguments: str) -> None:
    """Runs a script's main with these flags."""
    module = load(name)
    try:
        check = getattr(module, "check_flags", tuple)
        words = [name, *arguments]
        module.main(command_line.parse_flags(words, check, pipes=list(flags.FLAGS)))
    finally:
        flags.FLAGS.unparse_flags()
