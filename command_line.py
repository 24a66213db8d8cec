"""Reads a script's command line; all that is wrong with it is told at once."""

import difflib
import math
import os
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from absl import flags

import registry
import streams
from errors import UserError

FLAGS = flags.FLAGS
Check = Callable[[], Iterable[str]]
HELP = frozenset({"--help", "-help", "-h"})
_INDENTS = {"initial_indent": "  ", "subsequent_indent": "      "}
_PATHS = ("_file", "_dir", "_path", "_checkpoint")  # end the names of flags for paths


def parse_flags(
    argv: Sequence[str],
    check: Check = tuple,
    *,
    required: Sequence[str] = (),
    pipes: Collection[str] = (),
    words: Sequence[str] = (),
) -> list[str]:
    """Reads the command line into FLAGS.

    Args:
      argv: the script's name, then its words.
      check: yields what is wrong with the flags' values, each by itself and together.
      required: names of flags that must be given.
      pipes: names of flags whose files are read once, from start to end; others may
        not name a pipe or a device.
      words: what the words that belong to no flag are; as many are wanted.

    Returns:
      The script's name, and these words.

    Raises:
      UserError: names every flag that is wrong.
    """
    found, problems = _read(argv)
    given = [word for word in found if not word.startswith("-")] if words else []
    problems += (_stray_word(word) for word in found if word not in given)
    if len(given) != len(words):
        problems.append(f"wanted {' '.join(words)}, got {' '.join(given) or 'nothing'}")
    for name in FLAGS:
        problems += _value_problems(FLAGS[name], name in pipes)
    problems += [
        f"--{name} is not given"
        for name in required
        if FLAGS[name].value is None
        and not any(problem.startswith(f"--{name}=") for problem in problems)
    ]
    problems += check()
    if problems:
        raise _error(problems)
    return [argv[0], *given]


def help_text(description: str) -> str:
    """Tells what a script does, and all its flags and their defaults in a few words.

    Args:
      description: the script's docstring.

    Returns:
      The text; what the script shares with others stands behind its own flags.
    """
    by_module = FLAGS.flags_by_module_dict()
    shared = [flag for name in by_module if _is_ours(name) for flag in by_module[name]]
    groups = {
        "flags": by_module.get(sys.argv[0], []),
        "flags of several scripts": shared,
    }
    lines = [description.strip()]
    for heading, found in groups.items():
        lines += ["", f"{heading}:"] if found else []
        for flag in sorted(found, key=lambda flag: flag.name):
            lines += textwrap.wrap(
                _flag_help(flag), 80, **_INDENTS, break_on_hyphens=False
            )
    return "\n".join(lines)


def given(flag: str) -> bool:
    """Whether the user has given a flag, which the script may not have."""
    return flag in FLAGS and FLAGS[flag].present > 0


def _flag_help(flag: flags.Flag) -> str:
    value = "" if flag.default in (None, [], "") else f"={flag.default_unparsed}"
    return f"--{flag.name}{value}: {flag.help}"


def _is_ours(module: str) -> bool:
    """Tells whether a module stands beside this one."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return bool(file) and os.path.dirname(file) == os.path.dirname(__file__)


def unread(model_type: str, ability: str) -> Iterator[str]:
    """Yields of the given flags those that only other systems' classes read.

    Args:
      model_type: the system.
      ability: of which each system has a class; its `reads` names the flags.
    """
    names = registry.model_types(ability)
    reads = {name: registry.need(name, ability).reads for name in names}
    for flag in sorted(set().union(*reads.values()) - reads[model_type]):
        if FLAGS[flag].present:
            yield f"--{flag} is not for --model_type={model_type}"


def _error(problems: Iterable[str]) -> UserError:
    return UserError("; ".join(dict.fromkeys(problems)) + " (--help lists all flags)")


def _read(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the words that are no known flags, and why others could not be read."""
    problems = []
    FLAGS.set_gnu_getopt(True)  # flags may stand behind other words
    try:
        words = FLAGS.read_flags_from_files(argv[1:], force_gnu=False)
    except (flags.Error, UnicodeDecodeError) as error:
        reason = str(error).removeprefix("ERROR:: ")
        raise _error([f"--flagfile: {reason}"]) from error
    while True:
        FLAGS.unparse_flags()
        try:
            return FLAGS([argv[0], *words], known_only=True)[1:], problems
        except (flags.Error, ValueError) as error:
            problems.append(str(error).removeprefix("flag "))
            left = _without(words, problems[-1])
            if left is None:
                raise _error(problems) from error
            words = left


def _without(words: list[str], problem: str) -> list[str] | None:
    """Takes out the flag that absl says could not be read; None: it is not told."""
    for i, word in enumerate(words):
        name, equals, value = word.lstrip("-").partition("=")
        taken = words[i : i + (1 if equals else 2)]
        value = value if equals else taken[-1]
        if word.startswith("-") and problem.startswith(f"--{name}={value}: "):
            return words[:i] + words[i + len(taken) :]
    return None


def _stray_word(word: str) -> str:
    name = word.lstrip("-").partition("=")[0]
    if not word.startswith("-") or not name:
        return f"{word!r} belongs to no flag: wanted --flag=value"
    near = difflib.get_close_matches(name, list(FLAGS), 1, 0.75)
    return f"--{name} is no flag" + (f", --{near[0]} is" if near else "")


def _value_problems(flag: flags.Flag, may_be_pipe: bool) -> Iterator[str]:
    """Yields what no flag's value may be."""
    values = flag.value if isinstance(flag.value, list) else [flag.value]
    for value in values if flag.present else ():
        given = f"--{flag.name}={value}"
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{given}: wanted a finite number"
        elif isinstance(value, int) and not -(2**31) <= value < 2**31:
            yield f"{given}: wanted a number of at most 32 bits"
        elif isinstance(value, str):
            yield from _text_problems(flag.name, value, may_be_pipe)
    if flag.present and flag.value == "":
        yield f"--{flag.name} is not given: its value is empty"


def _text_problems(name, value, may_be_pipe):
    try:
        value.encode()
    except UnicodeEncodeError:
        yield f"--{name}={value!a}: not UTF-8"
        return
    if name.endswith(_PATHS) and not may_be_pipe and streams.is_stream(value):
        yield (
            f"--{name}={value} is a pipe or a device; wanted a file, which can be read "
            "more than once"
        )
