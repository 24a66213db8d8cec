"""Entity scores against seqeval's and conlleval.pl's, and by hand."""

import json
import pathlib

import numpy as np
import pytest

import metrics
from data_pipeline.readers import conll
from metrics import tagging

ROOT = pathlib.Path(__file__).resolve().parent
CASES = json.loads((ROOT / "golden/span_f1.json").read_text())
NAMES = [f"{case['scheme']}-{i}" for i, case in enumerate(CASES)]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_scores_are_those_of_seqeval_and_of_conlleval(case):
    scores = tagging.entity_f1(case["gold"], case["pred"])
    overall = case["seqeval_default(conlleval-like, lenient)"]
    for name in ("precision", "recall", "f1"):
        assert scores[name] == pytest.approx(overall[f"{name}_score"], abs=1e-12)
    assert scores["macro_f1"] == pytest.approx(case["macro_f1_default"], abs=1e-12)
    assert scores["accuracy"] == pytest.approx(case["token_accuracy"], abs=1e-12)
    for kind, wanted in case["per_type_default"].items():
        if not kind.endswith(" avg"):
            assert scores[f"precision_{kind}"] == pytest.approx(wanted["precision"])
            assert scores[f"recall_{kind}"] == pytest.approx(wanted["recall"])
            assert scores[f"f1_{kind}"] == pytest.approx(wanted["f1-score"])
    if case["scheme"] != "IOBES" or case["well_formed_predictions"]:
        wanted = case["conlleval_pl"]
        for name in ("precision", "recall", "f1", "accuracy"):
            assert 100 * scores[name] == pytest.approx(wanted[name], abs=1e-5)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
@pytest.mark.parametrize("scheme", conll.SCHEMES)
def test_conversion_to_any_scheme_keeps_the_entities(case, scheme):
    offsets = np.append(0, np.cumsum([len(tags) for tags in case["gold"]]))

    def converted(side):
        flat = conll.convert(np.concatenate(case[side]), offsets, scheme)
        return [tags.tolist() for tags in np.split(flat, offsets[1:-1])]

    scores = tagging.entity_f1(converted("gold"), converted("pred"))
    wanted = tagging.entity_f1(case["gold"], case["pred"])
    del scores["accuracy"], wanted["accuracy"]  # of tags, which do change
    assert scores == wanted


def test_an_entity_counts_only_where_type_and_both_ends_are_right():
    wanted = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG", "O"], ["B-LOC", "I-LOC"]]
    found = [["B-PER", "O", "O", "B-LOC"], ["B-LOC", "O"], ["B-LOC", "I-LOC"]]
    scores = metrics.compute(["entity_f1"], wanted, found)
    assert scores["precision"] == scores["recall"] == scores["f1"] == 0.5
    assert scores["accuracy"] == 6 / 8
    assert (scores["precision_LOC"], scores["recall_LOC"]) == (2 / 3, 1)
    assert scores["f1_PER"] == scores["f1_ORG"] == 0
    assert scores["macro_f1"] == pytest.approx(0.8 / 3)


def test_no_entity_at_all_scores_zero():
    scores = tagging.entity_f1([["O", "O"]], [["O", "O"]])
    assert scores == {
        "precision": 0,
        "recall": 0,
        "f1": 0,
        "macro_f1": 0,
        "accuracy": 1,
    }


@pytest.mark.parametrize(
    ("targets", "predictions", "message"),
    [
        ([["O"]], [], "1 target sentences, but 0 predicted"),
        ([["O"], ["O", "O"]], [["O"], ["O"]], "sentence 1 has 2 tags, but 1 predicted"),
        ([], [], "no tags to score"),
    ],
)
def test_sides_that_do_not_fit_are_refused(targets, predictions, message):
    with pytest.raises(ValueError, match=message):
        tagging.entity_f1(targets, predictions)
