"""The documentation names only what is there: scripts, flags, files, names, systems."""

import re
import xml.etree.ElementTree

import documentation as docs
import pytest
from documentation import CHINESE, ENGLISH, PAGES, ROOT, RUN_FILES

TEXTS = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in PAGES}
pages = pytest.mark.parametrize("page", TEXTS, ids=str)


def all_commands(page):
    for block in docs.blocks(TEXTS[page], ""):
        yield from docs.commands(block)


def unknown_flags(command):
    """The flags of a command that its script does not have."""
    return set(command.flags) - docs.flags_of(command.script)


@pages
def test_every_command_names_a_script_and_its_flags(page):
    for command in all_commands(page):
        assert (ROOT / command.script).is_file(), command
        assert not unknown_flags(command), command


@pages
def test_every_flag_in_a_sentence_is_one_of_some_script(page):
    scripts = [*ROOT.glob("*.py"), *ROOT.glob("benchmarks/**/*.py")]
    known = set().union(*(docs.flags_of(path.relative_to(ROOT)) for path in scripts))
    pip = {"no-deps", "force-reinstall"}
    assert docs.flags_in(docs.prose(TEXTS[page])) <= known | pip


@pytest.mark.parametrize("path", RUN_FILES, ids=lambda path: path.name)
def test_a_run_file_is_used_and_names_flags_of_its_script(path):
    name = str(path.relative_to(ROOT))
    users = [c for page in TEXTS for c in all_commands(page) if c.flag_file == name]
    assert users, f"no page shows how {name} is run"
    comments, set_flags = docs.flag_file(path)
    for command in users:
        known = docs.flags_of(command.script)
        assert set_flags <= known
    makers = {"create_pretraining_data.py", "create_vocab.py"}
    known = known.union(*(docs.flags_of(maker) for maker in makers))
    assert docs.flags_in(comments) <= known


@pages
def test_flag_files_and_make_targets_of_commands_are_there(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    for command in all_commands(page):
        assert command.flag_file is None or (ROOT / command.flag_file).is_file()
    for block in docs.blocks(TEXTS[page], ""):
        for words in docs.shell_lines(block):
            if words[0] == "make":
                assert words[1] in targets


@pages
def test_extras_are_those_of_setup(page):
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    for extra in re.findall(r"\.\[(\w+)\]", TEXTS[page]):
        assert f'"{extra}": [' in setup


@pages
def test_links_lead_somewhere(page):
    for link in docs.links(TEXTS[page]):
        if not link.startswith("https://"):
            target, _, anchor = link.partition("#")
            path = (ROOT / page).parent / target if target else ROOT / page
            assert path.exists(), link
            if anchor:
                assert anchor in docs.anchors(path.read_text(encoding="utf-8")), link


@pages
def test_files_and_folders_named_in_a_sentence_are_there(page):
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    for name in re.findall(r"`([\w./-]+)`", docs.prose(TEXTS[page])):
        if name.partition("/")[0] in folders and not name.startswith("."):
            assert (ROOT / name).exists(), name


@pages
def test_python_imports_what_is_there(page):
    for block in docs.blocks(TEXTS[page], "python"):
        for module, names in docs.imports(block):
            assert docs.is_importable(module), f"{page}: import {module}"
            assert names <= docs.module_names(module, names), f"{page}: {module}"


def test_readme_is_short():
    for path in (ENGLISH, CHINESE):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize(
    "pair",
    [(ENGLISH, CHINESE), (ROOT / "docs/lineage.md", ROOT / "docs/lineage.zh.md")],
    ids=lambda pair: pair[0].name,
)
def test_a_chinese_page_is_built_as_the_english_one(pair):
    english, chinese = (path.read_text(encoding="utf-8") for path in pair)
    levels = [[level for level, _ in docs.headings(t)] for t in (english, chinese)]
    assert levels[0] == levels[1]
    assert docs.tables(english) == docs.tables(chinese)
    for language in ("", "python"):
        assert docs.blocks(english, language) == docs.blocks(chinese, language)
    names = {path.name for path in pair}
    targets = [sorted({*docs.links(t)} - names) for t in (english, chinese)]
    assert targets[0] == targets[1]


def test_every_page_is_linked_from_the_readme():
    linked = set(docs.links(ENGLISH.read_text(encoding="utf-8")))
    assert {f"docs/{path.name}" for path in ROOT.glob("docs/*.md")} <= linked


def test_the_time_line_marks_what_is_in_the_code():
    picture = xml.etree.ElementTree.parse(ROOT / "docs/lineage.svg").getroot()
    groups = [group for group in picture.iter() if group.get("id", "").islower()]
    marks = {group.get("id"): group.get("class") for group in groups}
    systems = {name: mark for name, mark in marks.items() if mark in ("now", "next")}
    assert len(systems) > 9
    for name, mark in systems.items():
        there = (ROOT / f"modeling/{name}.py").exists()
        assert mark == ("now" if there else "next"), name


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("python run_squad.py --do_train", set()),
        ("python run_squad.py --do_trian --nodo_eval", {"do_trian"}),
        ("for x in a b; do python -m run_squad --nodo=1 > f; done", {"nodo"}),
        ("word2bert run_squad --lerning_rate=1", {"lerning_rate"}),
        ("echo a | .venv/bin/python \\\n  run_squad.py --stride=3", {"stride"}),
        ("python run_squad.py # --anything\npython run_squad.py --y", {"y"}),
    ],
)
def test_a_wrong_flag_is_found(line, wrong):
    found = docs.commands(line)
    assert {command.script for command in found} == {"run_squad.py"}
    assert set().union(*map(unknown_flags, found)) == wrong


def test_a_module_that_is_gone_is_found():
    ((gone, _),) = docs.imports("from tasks.gone import thing")
    assert not docs.is_importable(gone)
    assert not docs.is_importable("export_that_never_was")
    assert docs.is_importable("tasks.task")
    assert "thing" not in docs.module_names("tasks.task", {"thing"})


def test_flags_come_from_the_script_and_the_groups_it_takes():
    found = docs.flags_of("extract_features.py")
    assert {"pooling", "init_checkpoint", "config_file", "mixed_precision"} <= found
    assert {"normalize", "nonormalize", "traceback"} <= found
    assert not {"do_train", "learning_rate", "nopooling"} & found
