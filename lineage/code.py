"""The version of the code that a stage runs: a hash of the files that it may load.

Git is not there where the project is installed, and systems are loaded by name, so
imports do not tell all. A script's version is that of itself and of all that stands
below the scripts; a module of `lineage` counts what it imports of `lineage`, too.
"""

import ast
import functools
import hashlib
import importlib.metadata
import pathlib
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
# All that stands below this package, but for what serves.
BELOW = (
    "atomic_files",
    "checkpoints",
    "command_line",
    "common_flags",
    "data_pipeline",
    "errors",
    "folder_lock",
    "inference",
    "json_files",
    "lexicon",
    "metrics",
    "model_flags",
    "modeling",
    "optimization",
    "own_data",
    "packages",
    "paths",
    "pictures",
    "processes",
    "quiet_tensorflow",
    "registry",
    "reports",
    "startup",
    "streams",
    "systems",
    "task_runs",
    "tasks",
    "tokenization",
    "tokenization_bpe",
    "tokenization_english",
    "tokenization_tf",
    "tokenization_ulmfit",
    "tokenization_unigram",
    "tokenization_xlm",
    "training",
    "vocabulary",
    "word_rules",
)
# Whose releases may change a number; those behind the second comma may be missing.
_LIBRARIES = "tensorflow", "tensorflow-text", "numpy", "scipy", "scikit-learn"
_EXTRAS = "numba", "tokenizers", "sacremoses"


@functools.lru_cache(None)
def version(script: str) -> str:
    """The version of a script or of a module of `lineage`.

    Args:
      script: `run_classifier.py`, or `lineage.probe`.
    """
    script_files = [ROOT / script] if script.endswith(".py") else _imported(script)
    lines = [_below(), *sorted(map(_line, script_files))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@functools.lru_cache(None)
def _below() -> str:
    """The hash of all that stands below the scripts, and of the libraries' versions."""
    lines = [_line(path) for name in BELOW for path in _files(name)]
    lines += [f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES]
    lines += [f"{name} {_version_if_there(name)}" for name in _EXTRAS]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _files(name: str) -> Iterator[pathlib.Path]:
    """The files of a module or of a package."""
    module = ROOT / f"{name}.py"
    if module.exists():
        yield module
    else:
        yield from sorted((ROOT / name).rglob("*.py"))


def _line(path: pathlib.Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{path.relative_to(ROOT).as_posix()} {digest}"


def _version_if_there(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.lru_cache(None)
def _imported(module: str) -> frozenset[pathlib.Path]:
    """The files of `lineage` that a module of it loads, with itself."""
    path = _path(module)
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
            names.append(node.module)
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    ours = [n for n in names if n.startswith("lineage.") and _path(n).exists()]
    return frozenset({path}).union(*map(_imported, ours))


def _path(module: str) -> pathlib.Path:
    return ROOT / f"{module.replace('.', '/')}.py"
