"""Vectors of words with two senses: one point without context, many with it."""

import numpy as np
import pytest
import tiny_folders

from inference.pretrained import Pretrained
from lineage import polysemy, senses

CUES = {"money": ["loan", "cash"], "river": ["water", "boat"]}
RULE = senses.Rule("bank", {s: frozenset(words) for s, words in CUES.items()}, 5)
FILLER = ["the", "old", "one", "here", "then", "now", "again"]


def drawn(count=8):
    """Sentences in which only the words of the rule tell the sense."""
    rng = np.random.default_rng(4)
    documents = []
    for number in range(count):
        for sense, cues in CUES.items():
            around = [*rng.permutation(FILLER)[:4], cues[number % 2]]
            place = rng.integers(5)
            words = [*around[:place], "bank", *around[place:]]
            documents.append([" ".join([*words, f"{sense}{number}"])])
    return senses.balanced(senses.find(documents, [RULE]), 2, count, seed=1)


def rows_of(model):
    measures, points = polysemy.measure(drawn(), model, seed=1)
    return {(row["form"], row["layer"]): row for row in measures}, points


def test_a_bag_of_the_words_around_sees_the_rule_and_no_more():
    measures, points = rows_of(None)
    assert set(measures) == {("written", 0), ("hidden", 0)}
    assert measures["written", 0]["nearest"] > 0.9
    assert measures["written", 0]["silhouette"] > 0
    assert measures["hidden", 0]["nearest"] < 0.75
    assert measures["written", 0]["occurrences"] == 16
    assert not points


def test_a_table_of_vectors_has_one_point(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("2 3\nbank 1 2 3\nthe 3 2 1\n")
    measures, points = rows_of(Pretrained(str(path)))
    for form in polysemy.FORMS:
        assert measures[form, 0]["silhouette"] == 0
        assert measures[form, 0]["nearest"] == pytest.approx(7 / 15)
    assert {(row["x"], row["y"]) for row in points} == {(0, 0)}


@pytest.mark.parametrize(
    ("model_type", "layers"), [("elmo", (0, 1, 2)), ("bert", (1,))]
)
def test_only_layers_that_read_the_sentence_have_several_points(
    tmp_path, model_type, layers
):
    model = Pretrained(str(tiny_folders.encoder(model_type, tmp_path)))
    measures, points = rows_of(model)
    assert set(measures) == {(form, x) for form in polysemy.FORMS for x in layers}
    for layer in layers:
        of_layer = [row for row in points if row["layer"] == layer]
        spread = np.ptp([row["x"] for row in of_layer])
        assert (spread < 1e-5) == (layer == 0)
        assert (measures["written", layer]["silhouette"] == 0) == (layer == 0)
        assert len(of_layer) == 2 * 16
        assert {row["sense"] for row in of_layer} == set(CUES)


def test_counts_tell_what_was_found_and_what_is_measured():
    found = [*drawn(5)["bank"], *drawn(3)["bank"][:3]]
    rare = senses.Rule("rare", {"a": frozenset("x"), "b": frozenset("y")}, 5)
    rows = polysemy.counts(found, [RULE, rare], drawn(2))
    told = {
        (row["word"], row["sense"]): (row["found"], row["measured"]) for row in rows
    }
    assert told == {
        ("bank", "money"): (8, 2),
        ("bank", "river"): (5, 2),
        ("rare", "a"): (0, 0),
        ("rare", "b"): (0, 0),
    }
