"""Tables and reports of predictions: what is written is read, and is told rightly."""

import html.parser
import importlib.util
import random
import re

import numpy as np
import pytest
from sklearn.metrics import classification_report, confusion_matrix

from errors import UserError
from metrics import tagging
from reports import files, page
from reports.answers import Answers, question_word
from reports.label_sets import LabelSets
from reports.labels import Labels
from reports.results import read_table, write_table
from reports.scores import Scores
from reports.tags import Tags

TEXTS = ["plain", "two\nlines", 'a "quote"\tand a tab', "ends in CR\r", "", "\r\n"]
TEXTS += ["<script>alert(1)</script> & $x$", " 中文 ", "\u2028[bold]no markup[/bold]"]
needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="no matplotlib"
)


def labels(rows=60, **changes):
    rng = np.random.default_rng(rows)
    names = ["a", "b c", "unsure?", "probability:x"]
    probabilities = rng.dirichlet([0.4] * 4, rows).astype(np.float32)
    gold = np.where(rng.random(rows) < 0.6, probabilities.argmax(1), 0)
    texts = {"text_a": [TEXTS[i % len(TEXTS)] for i in range(rows)]}
    ids = [f"test-{i}" for i in range(rows)]
    return Labels(ids, texts, names, gold, probabilities, **changes)


def label_sets():
    rng = np.random.default_rng(3)
    gold = (rng.random((len(TEXTS), 3)) < 0.4).astype(int)
    found = rng.random((len(TEXTS), 3)).astype(np.float32)
    return LabelSets(TEXTS, {"text_a": TEXTS}, ["x|y", "z", "中"], gold, found)


def scores():
    rng = np.random.default_rng(4)
    gold = rng.random(len(TEXTS)).astype(np.float32).astype(float)
    return Scores(TEXTS, {"text_a": TEXTS, "text_b": TEXTS}, gold, np.float32(gold**2))


def tags(plain=False):
    words = ["Ann", "of", "New", "York", "saw", "the", "United", "Nations", ",", "Bob"]
    gold = ["B-PER", "O", "B-LOC", "I-LOC", "O", "O", "B-ORG", "I-ORG", "O", "B-PER"]
    found = ["B-PER", "O", "O", "B-LOC", "O", "B-ORG", "B-LOC", "I-LOC", "O", "O"]
    offsets = np.array([0, 6, 10])
    return Tags(words, list(range(3, 13)), gold, found, offsets, plain)


def answers():
    gold = [["Paris", "in Paris"], [], ["two men"]]
    return Answers(
        ["q1", "q2", "q3"], ["Where is it?", "谁写的?", "Wer?"], TEXTS[:3], gold,
        ["Paris", "Rome", "two"], np.array([0.9, 0.5, 0.25]),
        np.array([[1, 1], [0, 0], [0, 2 / 3]]),
    )  # fmt: skip


KINDS = {"labels": labels, "sets": label_sets, "scores": scores, "tags": tags,
         "answers": answers}  # fmt: skip
kinds = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def write(folder, results, **facts):
    files.write(str(folder), files.TEST, "", results, facts, {"test_f1": 0.5})
    return [(folder / name) for name in files.names(files.TEST)]


@kinds
def test_a_table_is_read_back_equal(tmp_path, make):
    results = make()
    table, _, _ = write(tmp_path, results)
    again = files.read(str(table))
    assert type(again) is type(results)
    wanted = {name: list(column) for name, column in results.columns().items()}
    assert {name: list(column) for name, column in again.columns().items()} == wanted
    for metric in results.metrics:
        wanted = results.row_sums(metric).value  # a table's numbers have nine digits
        assert again.row_sums(metric).value == pytest.approx(wanted, rel=1e-8)


def test_any_text_survives_in_a_table(tmp_path):
    rng = random.Random(5)
    cells = ["".join(rng.choices('a"\t\n\r, é', k=rng.randrange(9))) for _ in "x" * 999]
    columns = {"one": tuple(cells), "two": tuple(cells[::-1])}
    write_table(str(tmp_path / "t.tsv"), columns)
    assert read_table(str(tmp_path / "t.tsv")) == columns


def test_a_long_text_is_read_back(tmp_path):
    columns = {"text": ("word " * 100_000,)}
    write_table(str(tmp_path / "t.tsv"), columns)
    assert read_table(str(tmp_path / "t.tsv")) == columns


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rows"),
        ("a\tb\n1\n", "line 2: 1 columns, wanted 2: a, b"),
        ("a\tb\n1\t2\n", "its columns are a, b"),
        ('gold\tpredicted\n1\t"2\n', "no table of predictions"),
        ("id\tgold_score\tpredicted_score\n1\tx\t2\n", "no table of predictions"),
    ],
)
def test_what_is_no_table_is_refused_in_a_line(tmp_path, content, message):
    path = tmp_path / "predictions.tsv"
    path.write_text(content)
    with pytest.raises(UserError, match=re.escape(message)):
        files.read(str(path))


class Page(html.parser.HTMLParser):
    """Collects the elements, and whatever would be read from elsewhere."""

    def __init__(self):
        super().__init__()
        self.tags, self.ids, self.outside = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name not in ("src", "href", "xlink:href"):
                continue
            if not value.startswith(("#", "data:")):
                self.outside.append(value)


@kinds
@needs_matplotlib
def test_a_page_stands_alone_and_texts_stay_texts(tmp_path, make):
    _, _, path = write(tmp_path, make())
    text = path.read_text()
    found = Page()
    found.feed(text)
    assert not found.outside
    assert not {"script", "link", "img", "iframe"} & {*found.tags}
    assert "url(http" not in text
    assert len(found.ids) == len(set(found.ids))
    assert "svg" in found.tags
    assert "Drawings need" not in text


@kinds
def test_without_matplotlib_the_tables_are_complete(tmp_path, make, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name != "matplotlib" and find(name)
    )
    _, _, path = write(tmp_path, make())
    text = path.read_text()
    assert "pip install &quot;word2bert[plot]&quot;" in text
    assert "<svg" not in text
    assert "<details>" not in text


@needs_matplotlib
def test_the_same_predictions_make_the_same_bytes(tmp_path):
    first = [path.read_bytes() for path in write(tmp_path, labels())]
    assert [path.read_bytes() for path in write(tmp_path, labels())] == first


def test_an_older_report_never_stands_beside_newer_predictions(tmp_path, monkeypatch):
    table, text, page_file = write(tmp_path, labels())
    before = table.read_text()

    def fail(*_):
        raise RuntimeError("drawing failed")

    monkeypatch.setattr(page, "as_text", fail)
    with pytest.raises(RuntimeError):
        write(tmp_path, labels(30))
    assert table.read_text() != before
    assert not text.exists()
    assert not page_file.exists()


def test_classes_and_confusions_are_scikit_learns(tmp_path):
    results = labels(97)
    _, text, _ = write(tmp_path, results)
    lines = [line.split() for line in text.read_text().splitlines()]
    wanted = classification_report(
        results.gold, results.predicted, target_names=results.labels,
        labels=range(4), output_dict=True, zero_division=0,
    )  # fmt: skip
    for name in results.labels:
        scores = [f"{wanted[name][x]:.3f}" for x in ("precision", "recall", "f1-score")]
        assert [*name.split(), *scores, str(int(wanted[name]["support"]))] in lines
    counts = confusion_matrix(results.gold, results.predicted, labels=range(4))
    for i, (name, row) in enumerate(zip(results.labels, counts, strict=True), 1):
        assert [str(i), *name.split(), *map(str, row)] in lines


def test_unsure_is_who_is_less_confident():
    results = labels(unsure_below=0.7)
    predicted = results.columns()["predicted"]
    below = results.confidence < 0.7
    assert [name == "unsure" for name in predicted] == below.tolist()
    coverage = next(s for s in results.sections() if "coverage" in s.title)
    share = np.mean((results.gold == results.predicted)[~below])
    assert f"accuracy is {share:.4f}" in coverage.lines[0]


def test_right_answers_that_are_not_known_are_empty_and_not_scored(tmp_path):
    results = labels()
    unknown = Labels(
        results.ids, results.texts, results.labels, np.full(60, -1),
        results.probabilities,
    )  # fmt: skip
    table, text, _ = write(tmp_path, unknown)
    assert set(files.read(str(table)).columns()["gold"]) == {""}
    assert "not known" in text.read_text()
    assert "precision" not in text.read_text()


def test_entities_are_sorted_into_what_became_of_them():
    gold, found = map(tagging.find_entities, tags()._sides())
    pairs = zip(gold, found, strict=True)
    outcomes = [o for sides in pairs for o in tagging.entity_outcomes(*sides)]
    named = [(o, a and a[0], b and b[0]) for o, a, b in outcomes]
    assert named == [
        ("right", "PER", "PER"),
        ("boundary", "LOC", "LOC"),
        ("spurious", None, "ORG"),
        ("type", "ORG", "LOC"),
        ("missed", "PER", None),
    ]


def test_outcomes_add_up_to_the_entities_of_both_sides():
    rng = random.Random(6)
    names = ["O", "B-A", "I-A", "B-B", "I-B", "E-A", "S-B"]
    sides = [[rng.choices(names, k=rng.randrange(1, 15)) for _ in range(80)]]
    sides.append([rng.choices(names, k=len(tags)) for tags in sides[0]])
    gold, found = map(tagging.find_entities, sides)
    outcomes = [o for a, b in zip(gold, found, strict=True)
                for o in tagging.entity_outcomes(a, b)]  # fmt: skip
    assert sum(o[1] is not None for o in outcomes) == sum(map(len, gold))
    assert sum(o[2] is not None for o in outcomes) == sum(map(len, found))
    right = sum(o[0] == "right" for o in outcomes)
    wanted = 2 * right / (sum(map(len, gold)) + sum(map(len, found)))
    assert tagging.entity_f1(*sides)["f1"] == pytest.approx(wanted)
    assert {o[0] for o in outcomes} == {*tagging.OUTCOMES, tagging.SPURIOUS}


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("How many people came?", "how many"),
        ("In which year did he go?", "which"),
        ("Somewhat odd: name the place", "other"),
        ("Whom did they elect?", "whom"),
        ("该书是什么时候出版的？", "何时"),
        ("为什么？", "为什么"),
    ],
)
def test_what_asks_in_a_question(question, word):
    assert question_word(question) == word
