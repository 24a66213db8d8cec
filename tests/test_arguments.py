"""The article's arguments: their stages, and what becomes of what these left."""

import dataclasses
import json
import random
import subprocess
import sys

import documentation
import lineage_commands
import numpy as np
import pytest
from scipy import stats
from tiny import ROOT

import lineage.setting
import lineage.stages
from lineage import arguments, contest, expectations, plan, runner, tables
from lineage.experiments import Experiment
from lineage.runner import Outcome
from lineage.setting import Released, Setting, Sources
from lineage.stages import folder_of
from lineage.systems import BY_NAME

pytest.importorskip("matplotlib")
EXPERIMENTS = {experiment.name: experiment for experiment in arguments.EXPERIMENTS}
CUES = {"profit": ["income", "loss"], "internet": ["broadband", "online"]}
OTHERS = [*"abcdefghjk", "the", "of", "to", "was"]
NAMES = ["Ann", "Bob", "Rome", "Oslo"]


@pytest.fixture
def toy(tmp_path):
    """A corpus in which "net" has two senses, and small data sets; its Setting."""
    rng = random.Random(3)
    for label, (sense, cues) in zip("ab", CUES.items(), strict=True):
        (tmp_path / "bbc" / label).mkdir(parents=True)
        for number in range(40):
            lines = [f"{label} {sense} {number}"]
            for _ in range(2):
                words = [rng.choice(OTHERS), *cues, "net"]
                lines.append(" ".join(rng.sample(words, 4)).capitalize() + ".")
            text = "\n\n".join(lines)
            (tmp_path / "bbc" / label / f"{number:02}.txt").write_text(text)
    sources = Sources(str(tmp_path / "bbc"), None, {})
    return Setting(sources, 0.01, plan.RATES, (0, 1), (0,))


def with_data(setting, tmp_path):
    """Adds names to be tagged, and questions."""
    rng = random.Random(4)
    (tmp_path / "conll2003").mkdir()
    for name in ("eng.train", "eng.testa"):
        sentences = [
            [f"{w} N B {'I-PER' if w in NAMES else 'O'}" for w in rng.choices(
                NAMES + OTHERS, k=6)]
            for _ in range(60)
        ]  # fmt: skip
        text = "\n\n".join("\n".join(lines) for lines in sentences)
        (tmp_path / "conll2003" / name).write_text(text + "\n")
    (tmp_path / "xquad").mkdir()
    articles = [article(number, rng) for number in range(12)]
    content = json.dumps({"version": "1.1", "data": articles})
    (tmp_path / "xquad/xquad.en.json").write_text(content)
    sources = dataclasses.replace(setting.sources, data_dir=str(tmp_path))
    return dataclasses.replace(setting, sources=sources)


def article(number, rng):
    name = rng.choice(NAMES)
    context = f"In the year {number} it was {name} who said it ."
    question = {
        "id": f"q{number}",
        "question": f"Who said it in the year {number} ?",
        "answers": [{"text": name, "answer_start": context.index(name)}],
    }
    return {
        "title": str(number),
        "paragraphs": [{"context": context, "qas": [question]}],
    }


def run(experiment: Experiment, setting, tmp_path):
    """Runs an experiment in this process; returns its tables by name, and SVGs."""
    made = experiment.stages(setting)
    outcome = lineage_commands.run(list(made.values()), tmp_path / "work")
    folder = tmp_path / "drawn"
    folder.mkdir()
    found = experiment.rows(setting, made, outcome)
    for name, rows in found.items():
        tables.write(folder / name, rows)
    return found, experiment.draw(folder, folder)


def test_two_senses_from_text_to_picture(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(arguments, "_READ", ("skip_gram",))
    found, svgs = run(EXPERIMENTS["polysemy"], toy, tmp_path)
    values = {(r["panel"], r["group"], r["name"]): r for r in found["polysemy.csv"]}
    assert len(values) == 2 * (3 + 2)
    written = values["1-NN accuracy", "words around", "as written"]
    assert written["mean"] > 0.8
    assert values["1-NN accuracy", "words around", "telling words hidden"]["mean"] < 0.7
    shuffled = values["1-NN accuracy", "words around", "senses shuffled"]
    assert shuffled["mean"] == pytest.approx(0.5, abs=0.05)
    one_point = values["1-NN accuracy", "skip-gram", "as written"]
    assert one_point["mean"] == pytest.approx(0.49, abs=0.01)
    counts = {(row["word"], row["sense"]): row for row in found["counts.csv"]}
    assert counts["net", "internet"]["measured"] == counts["net", "money"]["measured"]
    assert counts["net", "internet"]["measured"] >= 10
    assert [svg.name for svg in svgs] == ["polysemy.svg", "senses.svg"]
    for svg in svgs:
        assert ">skip-gram<" in svg.read_text()


def test_shares_of_layers_are_means_with_students_interval(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(lineage.stages, "_contents", str)
    experiment, setting = EXPERIMENTS["layers"], dataclasses.replace(
        toy, seeds=(0, 1, 2)
    )  # fmt: skip
    made = experiment.stages(setting)
    outcome = Outcome(tmp_path)
    for number, stage in enumerate(made.values()):
        folder = folder_of(stage, tmp_path)
        folder.mkdir(parents=True)
        share = 0.1 * (number % 3) + 0.2
        lines = ["layer\tweight", f"0\t{share:.6f}", f"1\t{1 - share:.6f}", "gamma\t2"]
        (folder / "layer_weights.tsv").write_text("\n".join(lines) + "\n")
        outcome.records[stage.key] = None
    (rows,) = experiment.rows(setting, made, outcome).values()
    assert {(r["panel"], r["name"], r["x"]) for r in rows} == {
        (system, task, layer)
        for system in ("ELMo", "BERT")
        for task in ("tagging", "classification")
        for layer in (0, 1)
    }
    wanted = stats.t.interval(0.95, 2, 0.3, stats.sem([0.2, 0.3, 0.4]))
    first = [row for row in rows if row["x"] == 0]
    np.testing.assert_allclose([row["mean"] for row in first], 0.3)
    np.testing.assert_allclose([(r["low"], r["high"]) for r in first], [wanted] * 4)
    one = dataclasses.replace(setting, seeds=(0,))
    (rows,) = experiment.rows(one, experiment.stages(one), outcome).values()
    assert {row["low"] for row in rows} == {None}


def test_only_the_masks_differ_and_the_papers_are_the_main_tables(toy):
    cells = arguments._mask_cells(toy)
    models = {cell.entrant.title: cell.entrant.models for cell in cells}
    assert [sum(shares) for shares in arguments._MASKS.values()] == [1.0] * 3
    keys = {title: [model.key for model in made] for title, made in models.items()}
    assert keys[arguments._AS_IN_THE_PAPER] == [
        toy.pretrained("bert", seed).key for seed in toy.seeds
    ]
    assert len({key for found in keys.values() for key in found}) == 3 * 2
    for made in models.values():
        assert training(made[0]) == training(toy.pretrained("bert", 0))


def training(stage):
    """What a training is told but for its records, comparable."""
    return {
        name: lineage.stages._identity(value)
        for name, value in stage.flags.items()
        if name != "input_file"
    }


def test_listing_stages_loads_no_tensorflow():
    code = (
        "import sys; from lineage import arguments; print('tensorflow' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT)
    assert found.stdout == b"False\n", found.stderr


def test_stages_name_flags_of_their_scripts(toy, monkeypatch):
    monkeypatch.setattr(lineage.stages, "_contents", str)
    everything = dataclasses.replace(
        toy, sources=dataclasses.replace(toy.sources, data_dir="data")
    )
    for experiment in EXPERIMENTS.values():
        stages = list(experiment.stages(everything).values())
        assert stages
        for stage in runner.with_needs(stages):
            if stage.script.endswith(".py"):
                assert set(stage.flags) <= documentation.flags_of(stage.script), stage


def shrink(monkeypatch, folder):
    """Makes configs that need fewer words than a real text has."""
    changes = {
        "elmo": ("elmo.json", {"sample_softmax": False}, {}),
        "gpt": ("gpt.json", {"n_vocab": 90}, {"vocab_size": 90}),
    }
    for name, (file, config, vocabulary) in changes.items():
        content = json.loads((ROOT / "configs/lineage" / file).read_text())
        (folder / file).write_text(json.dumps(content | config))
        small = dataclasses.replace(
            BY_NAME[name],
            config=str(folder / file),
            vocabulary=BY_NAME[name].vocabulary | vocabulary,
        )
        monkeypatch.setitem(BY_NAME, name, small)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["layers", "masking", "directions"])
def test_experiments_run_from_text_to_picture(toy, tmp_path, monkeypatch, name):
    shrink(monkeypatch, tmp_path)
    monkeypatch.setattr(arguments, "_SENTENCES", 40)
    monkeypatch.setattr(lineage.setting, "FOLDERS", {"conll": "conll2003"})
    fewer = (
        dataclasses.replace(task, labels=40) if task.name == "conll" else task
        for task in contest.TASKS
    )
    monkeypatch.setattr(contest, "TASKS", tuple(fewer))
    small = dataclasses.replace(arguments._ANSWERS, labels=6)
    monkeypatch.setattr(arguments, "_ANSWERS", small)
    setting = with_data(dataclasses.replace(toy, seeds=(0,)), tmp_path)
    found, svgs = run(EXPERIMENTS[name], setting, tmp_path)
    (rows,) = found.values()
    wanted = {"layers": 2 * 2 * 3, "masking": 3 * 2 * 2, "directions": 2 * (2 + 1)}
    assert len(rows) == wanted[name]
    assert all(row["mean"] is not None for row in rows)
    assert [svg.stem for svg in svgs] == [name]


def test_expectations_are_of_cells_that_there_are(toy, monkeypatch):
    monkeypatch.setattr(lineage.stages, "_contents", str)
    released = {
        name: Released(name, "bert", "a file") for name in ("glove6b", "minilm", "e5")
    }
    sources = dataclasses.replace(
        toy.sources,
        data_dir="data",
        released=released,
        pairs={"wordsim": "pairs", "simlex": "pairs"},
    )
    everything = dataclasses.replace(toy, sources=sources)
    panels = [contest.RELEASED, contest.RELEASED_TUNED]
    entered = contest.entrants(everything, list(BY_NAME), panels)
    cells = contest.cells(everything, entered, [task.name for task in contest.TASKS])
    there = {(cell.task.name, cell.column, cell.entrant.name) for cell in cells}
    rows = tables.read(expectations.FILE)
    assert len(rows) > 100
    assert {(row["task"], row["column"], row["name"]) for row in rows} <= there
    assert all(row["low"] < row["high"] for row in rows)


def test_what_came_out_stands_beside_what_was_expected():
    first, second, third = tables.read(expectations.FILE)[:3]
    rows = [
        first | {"score": first["low"] - 0.1},
        second | {"score": second["high"]},
        third | {"score": None},
    ]
    found = list(expectations.compared(rows))
    assert [row["verdict"] for row in found] == ["below", "as expected"]
    assert [row["score"] for row in found] == [row["score"] for row in rows[:2]]


def test_of_many_layers_a_few_are_shown():
    assert arguments._few([0]) == [0]
    assert arguments._few([0, 1, 2]) == [0, 1, 2]
    assert arguments._few([1, 2, 3, 4, 5, 6]) == [1, 4, 6]
