"""What the documentation says, taken apart: blocks, commands, tables, links, flags.

Scripts are parsed, not imported, so that this takes no TensorFlow.
"""

import ast
import dataclasses
import functools
import importlib.util
import pathlib
import re
import shlex

from tiny import ROOT

ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"
PAGES = sorted(
    [ENGLISH, CHINESE, *ROOT.glob("docs/*.md"), ROOT / "benchmarks/peers/README.md"]
)
RUN_FILES = sorted(ROOT.glob("configs/runs/*.flags"))
# Of absl, and of startup.run.
EVERY_SCRIPT = {"flagfile", "help", "helpfull", "traceback"}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FLAG = re.compile(r"(?<![\w=-])--(\w[\w-]*)")


@dataclasses.dataclass(frozen=True)
class Command:
    """A script as it is called.

    Attributes:
      script: its path below the project's folder.
      flags: the names of its flags.
      flag_file: what --flagfile names; None without it.
    """

    script: str
    flags: tuple[str, ...]
    flag_file: str | None = None


def blocks(text: str, language: str) -> list[str]:
    """Returns the code blocks of a language, "" where none is named."""
    return [code for name, code in _FENCE.findall(text) if name == language]


def prose(text: str) -> str:
    """Returns a page without its code blocks."""
    return _FENCE.sub("", text)


def headings(text: str) -> list[tuple[int, str]]:
    """Returns level and title of each heading."""
    found = re.findall(r"^(#+) (.*)$", prose(text), re.MULTILINE)
    return [(len(marks), title) for marks, title in found]


def anchors(text: str) -> set[str]:
    """Returns what a link's `#...` may name, as GitHub makes it of the headings."""
    names = (title.lower().replace(" ", "-") for _, title in headings(text))
    return {re.sub(r"[^\w-]", "", name) for name in names}


def tables(text: str) -> list[list[int]]:
    """Returns of each table how many cells its rows have."""
    found, previous = [], False
    for line in prose(text).splitlines():
        is_row = line.startswith("|")
        if is_row and not previous:
            found.append([])
        if is_row:
            found[-1].append(line.count("|") - line.count("\\|"))
        previous = is_row
    return found


def links(text: str) -> list[str]:
    """Returns the targets of all links and pictures."""
    return _LINK.findall(prose(text))


def flags_in(text: str) -> set[str]:
    """Returns the flags that a text names."""
    return set(_FLAG.findall(text))


def shell_lines(block: str) -> list[list[str]]:
    """Returns the simple commands of a block, each in its words, without comments."""
    text = re.sub(r"(?<!\S)#.*", "", block).replace("\\\n", " ")
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";|\n")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t", "", True
    found = [[]]
    for word in lexer:
        if set(word) <= set(";|\n"):
            found.append([])
        else:
            found[-1].append(word)
    return [line for line in found if line]


def commands(block: str) -> list[Command]:
    """Returns the calls of the project's scripts in a block of shell commands."""
    return [
        command
        for line in shell_lines(block)
        if (command := _command(line)) is not None
    ]


def _command(words: list[str]) -> Command | None:
    """Returns the script that a line calls; None for other programs."""
    for place, word in enumerate(words):
        rest = words[place + 1 :]
        if word == "word2bert" and rest[0] != "configs":
            return _call(f"{rest[0]}.py", rest[1:])
        if pathlib.PurePath(word).name == "python":
            if rest[0] == "-m" and rest[1] in ("venv", "pip", "build"):
                return None
            if rest[0] == "-m":
                return _call(f"{rest[1].replace('.', '/')}.py", rest[2:])
            return _call(rest[0], rest[1:])
    return None


def _call(script: str, words: list[str]) -> Command:
    named = [word[2:].partition("=") for word in words if word.startswith("--")]
    files = [value for name, _, value in named if name == "flagfile"]
    return Command(script, tuple(name for name, _, _ in named), *files)


@functools.cache
def flags_of(script: str) -> frozenset[str]:
    """Returns the flags that a script defines, itself and by `module.define_...()`."""
    tree = ast.parse((ROOT / script).read_text(encoding="utf-8"))
    return frozenset(EVERY_SCRIPT | _defined(tree, tree, []))


def _defined(node, module, visited: list[str]) -> set[str]:
    """Returns the flags that the calls below a node define.

    Args:
      node: a module or a function.
      module: the module it stands in.
      visited: functions that have been looked into; grows.
    """
    found = set()
    for call in (n for n in ast.walk(node) if isinstance(n, ast.Call)):
        name = ast.unparse(call.func)
        if name.startswith("flags.DEFINE_"):
            flag = ast.literal_eval(call.args[0])
            found.add(flag)
            if name in ("flags.DEFINE_bool", "flags.DEFINE_boolean"):
                found.add(f"no{flag}")
        elif name.rpartition(".")[2].startswith("define_") and name not in visited:
            visited.append(name)
            found |= _defined(*_function(name, module), visited)
    return found


def _function(name: str, module):
    """Returns a function `define_...` of this or another module, and its module."""
    owner, _, function = name.rpartition(".")
    if owner:
        path = ROOT / f"{owner.replace('.', '/')}.py"
        module = ast.parse(path.read_text(encoding="utf-8"))
    (found,) = (
        node
        for node in module.body
        if isinstance(node, ast.FunctionDef) and node.name == function
    )
    return found, module


def flag_file(path: pathlib.Path) -> tuple[str, set[str]]:
    """Returns the comments of a flagfile, and the flags that it sets."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = "\n".join(line for line in lines if line.startswith("#"))
    return comments, {line[2:].partition("=")[0] for line in lines if line[:2] == "--"}


def imports(code: str) -> list[tuple[str, set[str]]]:
    """Returns the modules that Python code imports, and the names it takes of each."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [(alias.name, set()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module, {alias.name for alias in node.names}))
    return found


def is_importable(module: str) -> bool:
    """Whether there is such a module: of the project, or in an installed package."""
    top = module.partition(".")[0]
    if (ROOT / top).is_dir() or (ROOT / f"{top}.py").exists():
        return _file_of(module).exists()
    return importlib.util.find_spec(top) is not None


def module_names(module: str, wanted: set[str]) -> set[str]:
    """Returns what can be imported from a module; of other packages, all `wanted`."""
    path = _file_of(module)
    if not path.exists():
        return wanted
    names = {file.stem for file in path.parent.iterdir() if path.stem == "__init__"}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if hasattr(target, "id")}
    return names


def _file_of(module: str) -> pathlib.Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
