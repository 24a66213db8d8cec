"""Words with two senses: the rules, what they find, and how senses are told apart."""

import re
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier
from tiny import ROOT

from errors import UserError
from lineage import senses, separation

SENSES_FILE = str(ROOT / "configs/lineage/senses.yml")
RULES = {rule.word: rule for rule in senses.read_rules(SENSES_FILE)}
# Written for this test, and judged by a person. None: the rule must not say.
JUDGED = [
    ("The plant near the river will close, and 900 jobs are gone.", "factory"),
    ("The leaves of this plant turn red when the soil is dry.", "organism"),
    ("They water the plant twice a week.", None),
    ("The new plant breeding station was built by a steel company.", None),
    ("Each cell has a membrane and a nucleus.", "biology"),
    ("She called him on her cell phone.", "device"),
    ("He spent the night in a police cell.", None),
    ("No player has scored more goals in the league.", "person"),
    ("The portable music player has a battery for ten hours.", "device"),
    ("Most homes here reach the net over a broadband connection.", "internet"),
    ("Net profit was 12m euros, after a loss last year.", "money"),
    ("She ran the 5km in a new world record.", "best"),
    ("The band signed to a small record label in Leeds.", "music"),
    ("Banks pay less interest since the rate was cut.", "money"),
    ("She has shown great interest in the art of gardens.", "concern"),
    ("Rail workers will vote on a strike over their pay.", "work"),
    ("His angled strike beat the keeper from twenty yards.", "football"),
    ("I saved it on the hard drive, in gigabytes of songs.", "disk"),
    ("He was too drunk to drive a car.", "motion"),
    ("The winger scored a try in the second half.", "rugby"),
    ("We will try to find out who did it.", "attempt"),
    ("She won her third Wimbledon title in June.", "championship"),
    ("He played the title role in that film.", "name"),
    ("The boat lay on the bank of the river.", "river"),
    ("The bank will raise its interest rate.", "money"),
    ("The cat ate the mouse.", "animal"),
    ("A keyboard and a mouse come with it.", "computer"),
    ("An apple fell from the tree.", "fruit"),
    ("Apple sells software for laptops, too.", "company"),
]


@pytest.mark.parametrize(("sentence", "wanted"), JUDGED)
def test_rules_say_what_a_person_says_or_nothing(sentence, wanted):
    found = senses.find([[sentence]], list(RULES.values()))
    words = [w for w in RULES if w in senses.words_of(sentence)]
    told = {one.word: one.sense for one in found}
    if wanted is None:
        assert not told
    else:
        assert [w for w in words if told.get(w) == wanted], told


def test_every_sense_of_the_file_is_judged():
    judged = {wanted for _, wanted in JUDGED if wanted}
    assert {sense for rule in RULES.values() for sense in rule.cues} == judged


RULE = senses.Rule("net", {"a": frozenset({"web"}), "b": frozenset({"tax"})}, 2)


@pytest.mark.parametrize(
    ("sentence", "sense"),
    [
        ("web x net x x", "a"),
        ("web x x net x", None),  # outside the window
        ("x net x tax", "b"),
        ("web net tax", None),
        ("x net x", None),
        ("web net net", None),  # which of them would be measured?
        ("web internet", None),
    ],
)
def test_one_sense_within_the_window_or_none(sentence, sense):
    found = senses.find([[sentence]], [RULE])
    assert [one.sense for one in found] == ([sense] if sense else [])


def test_an_occurrence_is_cut_lowered_and_hidden():
    sentence = "Tax " + "x " * 30 + "Web y Net w " + "z " * 30
    [one] = senses.find([["x"], [sentence]], [RULE])
    assert one.words[one.place] == "net"
    assert (one.document, one.place) == (1, senses.REACH)
    assert len(one.words) == 2 * senses.REACH + 1
    assert one.words[one.place - 2 : one.place + 2] == ("web", "y", "net", "w")
    hidden = one.hidden[one.place - 2 : one.place + 2]
    assert hidden == (senses.REPLACEMENT, "y", "net", "w")
    assert len(one.hidden) == len(one.words)


def test_a_sentence_counts_once_and_documents_are_numbered(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("web net\nx\n\n\nweb net .\nweb net\n\ntax net")
    documents = list(senses.read_documents([str(path), str(path)]))
    assert len(documents) == 6
    found = senses.find(documents, [RULE])
    assert [(one.sense, one.document) for one in found] == [
        ("a", 0),
        ("a", 1),
        ("b", 2),
    ]


def occurrences(**counts):
    return [
        senses.Occurrence(word, sense, number, (word,), 0, (word,))
        for key, count in counts.items()
        for word, sense in [key.split("_")]
        for number in range(count)
    ]


def test_both_senses_are_drawn_alike_and_rare_words_left_out():
    found = occurrences(net_a=9, net_b=4, one_a=9, rare_a=9, rare_b=2)
    drawn = senses.balanced(found, fewest=3, most=7, seed=5)
    assert Counter(one.sense for one in drawn["net"]) == {"a": 4, "b": 4}
    assert set(drawn) == {"net"}
    assert senses.balanced(found, 3, 7, 5) == drawn
    assert senses.balanced(found, 3, 7, 6) != drawn
    assert len(senses.balanced(found, fewest=3, most=3, seed=5)["net"]) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("window: 3", "wanted the keys window, words"),
        ("window: 0\nwords: {}", "window is 0"),
        ("window: [", "no YAML"),
        ("window: 3\nwords: {net: {a: [x]}}", "net: wanted two senses"),
        ("window: 3\nwords: {net: {a: [x], b: [x, y]}}", "net: both senses have x"),
        ("window: 3\nwords: {net: {a: [X], b: [y]}}", "net: a has 'X'"),
        ("window: 3\nwords: {net: {a: [net], b: [y]}}", "net: a has 'net'"),
        ("window: 3\nwords: {net: {a: [x], b: [no]}}", "net: b has False"),
    ],
)
def test_a_file_of_rules_that_is_wrong_is_refused(tmp_path, text, message):
    path = tmp_path / "senses.yml"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(f"{path}: {message}")):
        senses.read_rules(str(path))


def clusters(gap, count=12, width=7):
    rng = np.random.default_rng(3)
    labels = np.repeat(["a", "b"], count)
    middle = np.where(labels == "a", gap, -gap)[:, None] * rng.normal(size=width)
    return middle + rng.normal(size=(2 * count, width)) + 0.3, labels


@pytest.mark.parametrize("gap", [0.0, 0.4, 3.0])
def test_measures_are_scikit_learns(gap):
    vectors, labels = clusters(gap)
    found = separation.measure(vectors, labels, range(len(labels)), seed=1)
    wanted = silhouette_score(vectors, labels, metric="cosine")
    assert found.silhouette == pytest.approx(wanted, abs=1e-5)
    right = []
    for i in range(len(labels)):
        others = np.arange(len(labels)) != i
        near = KNeighborsClassifier(1, metric="cosine")
        near.fit(vectors[others], labels[others])
        right.append(near.score(vectors[i : i + 1], labels[i : i + 1]))
    assert found.nearest == pytest.approx(np.mean(right))
    assert found.shuffled == pytest.approx(0.5, abs=0.1)


def test_one_point_tells_nothing():
    found = separation.measure(np.ones((8, 3)), list("aaaabbbb"), range(8), seed=1)
    assert found.silhouette == 0
    assert found.nearest == pytest.approx(3 / 7)  # of the others, three are of its kind


def test_a_neighbour_of_the_same_document_does_not_count():
    vectors = np.array([[1, 0.1], [1, 0.11], [0.1, 1], [0.11, 1]])
    assert separation.measure(vectors, list("aabb"), [0, 1, 2, 3], 1).nearest == 1
    assert separation.measure(vectors, list("aabb"), [0, 0, 1, 1], 1).nearest == 0
    with pytest.raises(ValueError, match="one document"):
        separation.measure(vectors, list("aabb"), [0, 0, 0, 0], 1)


def test_shuffled_senses_are_those_of_the_seed():
    vectors, labels = clusters(2.0)
    one, same, other = (
        separation.measure(vectors, labels, range(24), seed) for seed in (1, 1, 2)
    )
    assert one == same
    assert one.shuffled != other.shuffled
    assert one.nearest == other.nearest


def test_the_plane_keeps_what_varies_most():
    rng = np.random.default_rng(1)
    flat = rng.normal(size=(9, 2)) * [5, 2]
    lifted = flat @ np.linalg.qr(rng.normal(size=(6, 6)))[0][:2]
    found = separation.plane(lifted)
    for place in range(2):
        wanted = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[0][:, place]
        assert abs(np.corrcoef(found[:, place], wanted)[0, 1]) == pytest.approx(1)
