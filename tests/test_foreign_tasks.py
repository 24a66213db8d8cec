"""Hugging Face's folders, without a task.json, do what their heads were trained for."""

import json

import numpy as np
import pytest
import tiny
import tiny_folders

import word2bert
from convert_checkpoint import convert
from data_pipeline.readers.conll import PLAIN
from errors import UserError

pytestmark = pytest.mark.long

TEXTS = [e.text_a for e in tiny.examples(7, seed=3)]
PAIRS = list(zip(TEXTS[1:], TEXTS, strict=False))
# Theirs read as much as the model can: its position table has so many rows.
LONGEST = {"max_seq_length": 40}
KINDS = {
    "single_label": ("bad", "fair", "good"),
    "multi_label": ("short", "good"),
    "regression": (),
}


def foreign(ours, tmp_path):
    """Opens a trained folder of ours, and what it is in Hugging Face's form."""
    convert(str(ours), str(tmp_path / "theirs"), "huggingface")
    assert not (tmp_path / "theirs/task.json").exists()
    return word2bert.load(ours), word2bert.load(tmp_path / "theirs")


@pytest.mark.parametrize("kind", KINDS)
def test_a_classifier_says_what_it_said_in_our_form(kind, tmp_path):
    made = tiny_folders.classifier(
        "bert", tmp_path, output_kind=kind, labels=KINDS[kind], **LONGEST
    )
    ours, theirs = foreign(made, tmp_path)
    assert "classify" in theirs.can
    wanted, found = ours.classify(TEXTS), theirs.classify(TEXTS)
    assert wanted.keys() == found.keys()
    for name in wanted:
        if wanted[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name], wanted[name], atol=1e-6)
        else:
            assert found[name].tolist() == wanted[name].tolist()


def test_texts_and_pairs_are_both_classified_as_nobody_says_which_it_knows(tmp_path):
    made = tiny_folders.classifier("bert", tmp_path, text_pair=True, **LONGEST)
    ours, theirs = foreign(made, tmp_path)
    wanted = ours.classify(PAIRS)["probabilities"]
    found = theirs.classify([*PAIRS, "good"])["probabilities"]
    np.testing.assert_allclose(found[:-1], wanted, atol=1e-6)
    with pytest.raises(UserError, match="text 0: got 3, but .* a text, or 2 texts"):
        theirs.classify([3])


def test_labels_that_nobody_named_are_numbered(tmp_path):
    made = tiny_folders.classifier("bert", tmp_path)
    convert(str(made), str(tmp_path / "theirs"), "huggingface")
    path = tmp_path / "theirs/config.json"
    values = json.loads(path.read_text())
    del values["id2label"], values["label2id"]
    path.write_text(json.dumps(values))
    names = word2bert.load(tmp_path / "theirs").classify("good")["label_names"]
    assert names.tolist() == ["LABEL_0", "LABEL_1"]


def test_a_tagger_tags_as_in_our_form(tmp_path):
    plain = {"tag_scheme": PLAIN, "output_scheme": PLAIN, "crf": False, **LONGEST}
    made = tiny_folders.tagger("bert", tmp_path, labels=("DET", "NN"), **plain)
    ours, theirs = foreign(made, tmp_path)
    sentences = [text.split() for text in TEXTS]
    found = theirs.tag(sentences)
    assert found == ours.tag(sentences)
    assert {tag for tags in found for tag in tags} == {"DET", "NN"}


def test_a_reader_answers_as_in_our_form(tmp_path):
    ours, theirs = foreign(tiny_folders.reader(tmp_path), tmp_path)
    context = " ".join(tiny.WORDS[:12])
    found, wanted = (x.answer("word3 good", context) for x in (theirs, ours))
    assert found["answers"] == wanted["answers"]
    assert found["scores"] == pytest.approx(wanted["scores"], abs=1e-5)


def test_weights_without_such_a_head_only_give_vectors(tmp_path):
    made = tiny_folders.encoder("bert", tmp_path)
    convert(str(made), str(tmp_path / "theirs"), "huggingface")
    assert "classify" not in word2bert.load(tmp_path / "theirs").can
