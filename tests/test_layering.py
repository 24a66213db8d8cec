"""Imports point to a lower rank, or stay inside a package; flags stay on top."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
RANKS = (
    {"errors", "quiet_tensorflow"},
    {"json_files", "packages", "processes", "registry"},
    {"folder_lock"},
    {
        "tokenization",
        "tokenization_tf",
        "tokenization_bpe",
        "tokenization_english",
        "tokenization_ulmfit",
        "tokenization_xlm",
        "tokenization_unigram",
        "vocabulary",
        "word_rules",
        "lexicon",
        "atomic_files",
        "paths",
        "pictures",
        "streams",
        "optimization",
        "metrics",
        "modeling",
    },
    {"data_pipeline", "checkpoints", "reports"},
    {"systems"},
    {"tasks"},
    {"training"},
    {"inference"},
    {"serving"},
    {"common_flags", "model_flags", "command_line", "startup"},
    {"task_runs"},
    {"own_data"},
    {"lineage"},
)
SCRIPTS = len(RANKS)
# One thing in several files: tokenization_tf is the in-graph form of tokenization.
TOGETHER = {
    ("tokenization_tf", "tokenization"),
    ("tokenization_bpe", "tokenization"),
    ("tokenization_bpe", "tokenization_english"),
    ("tokenization_ulmfit", "tokenization"),
    ("tokenization_ulmfit", "tokenization_english"),
    ("tokenization_xlm", "tokenization"),
    ("tokenization_xlm", "tokenization_bpe"),
    ("tokenization_unigram", "tokenization"),
    ("tokenization_unigram", "tokenization_bpe"),
    ("benchmarks", "word2bert"),
    ("paths", "atomic_files"),
    ("pictures", "atomic_files"),
    ("startup", "command_line"),
    ("common_flags", "command_line"),
    ("model_flags", "command_line"),
    ("lexicon", "vocabulary"),
    ("lexicon", "word_rules"),
    ("modeling", "word_rules"),
    ("tokenization_ulmfit", "word_rules"),
    ("vocabulary", "word_rules"),
    ("word_rules", "tokenization"),
}
FLAGS_FROM = 10

MODULES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.py", *(f"{p}/**/*.py" for p in ("benchmarks",)))
    for path in ROOT.glob(pattern)
    if path.name != "setup.py"
) + sorted(
    path.relative_to(ROOT)
    for rank in RANKS
    for package in rank
    for path in ROOT.glob(f"{package}/**/*.py")
)


def unit_of(path):
    return path.parts[0].removesuffix(".py")


def rank_of(unit):
    for rank, units in enumerate(RANKS):
        if unit in units:
            return rank
    return SCRIPTS


def imported(path):
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_point_to_a_lower_rank(path):
    unit = unit_of(path)
    ours = {unit for rank in RANKS for unit in rank}
    ours |= {p.stem for p in ROOT.glob("*.py")}
    for name in imported(path):
        target = name.split(".")[0]
        if target not in ours or target == unit or (unit, target) in TOGETHER:
            continue
        assert rank_of(target) < rank_of(unit), f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_flags_are_read_by_scripts_and_common_flags_only(path):
    if rank_of(unit_of(path)) < FLAGS_FROM:
        assert not {"absl.flags", "absl.app"} & set(imported(path))


def test_models_import_layers_and_configs_only():
    for path in MODULES:
        if path.parts[:2] == ("modeling", "layers"):
            foreign = [n for n in imported(path) if n.startswith("modeling.")]
            assert all(n.startswith("modeling.layers") for n in foreign), path


def test_the_rules_see_every_module():
    assert len(MODULES) > 30
    assert {unit_of(path) for path in MODULES} >= set().union(*RANKS)
