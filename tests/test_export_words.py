"""SavedModels of taggers and of ELMo answer words as the scripts do."""

import dataclasses
import json
import pathlib
import sys

import forks
import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_elmo
import tiny_gpt
import tiny_tagging
import tiny_taglm

import modeling
from checkpoints import bilm, tensorflow_files
from inference import export
from lexicon import Lexicon
from modeling import ElmoConfig, ElmoModel
from systems.elmo import ElmoSystem
from systems.taglm import begin
from tasks.tagging import TaggingConfig, TaggingTask
from vocabulary import CharacterEncoder, file_text

pytestmark = pytest.mark.long

LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
CONFIG = TaggingConfig(LABELS, "IOB1", "BIO", True, 9, True)
BY_TABLE = ElmoConfig.from_dict(tiny_elmo.OPTIONS | {"char_cnn": None})
WORDS = [
    "good",
    "Word1.word2",
    "BAD",
    "a",
    "é",
    "w3",
    "zoë",
    "Zoë",
    "good\u00a0",
    "<S>",
]


def write_vocabulary(folder):
    (folder / "vocab.txt").write_text(file_text(tiny_elmo.VOCAB), "utf-8")
    return str(folder / "vocab.txt")


def taglm(folder):
    # Every word twice, so that it is in the vocabulary, but some in other letters.
    config = tiny_taglm.CONFIG.with_lm(tiny_elmo.CONFIG)
    config = dataclasses.replace(config, do_lower_case=False)
    return begin(config, [w for w in WORDS if w != "Zoë"] * 2)


SYSTEMS = {
    "bert": tiny.system,
    "gpt": tiny_gpt.system,
    "elmo": lambda _: ElmoSystem(tiny_elmo.CONFIG),
    "elmo by a table": lambda folder: ElmoSystem(BY_TABLE, write_vocabulary(folder)),
    "taglm": taglm,
}
# What a client needs; it has neither our modules nor their folder.
CLIENT = """\
import json, sys
import tensorflow as tf, tensorflow_text
folder, words = json.load(sys.stdin)
model = tf.saved_model.load(folder)
found = model.signatures["serving_default"](words=tf.constant(words))["tags"]
assert not {"export", "tokenization", "modeling"} & set(sys.modules)
json.dump([[tag.decode() for tag in row] for row in found.numpy()], sys.stdout)
"""


def sentences(seed=0):
    """Sentences of 0 to 13 words, some of them longer than a row."""
    rng = np.random.default_rng(seed)
    return [list(rng.choice(WORDS, rng.integers(0, 14))) for _ in range(12)]


def write_tagger(folder, make_system, **changes):
    """Writes the output folder of a tagger whose random weights tell words apart."""
    folder.mkdir(exist_ok=True)
    config = dataclasses.replace(CONFIG, **changes)
    task = TaggingTask(config, make_system(folder))
    model = task.build_model(dtype="float32", fused=False, seed=3)
    tensors = {n: v.numpy() for n, v in modeling.named_variables(model).items()}
    rng = np.random.default_rng(8)
    for name in tensors:
        if name.startswith("tagger/"):
            tensors[name] = rng.normal(size=tensors[name].shape).astype(np.float32)
    output = folder / "out"
    task.save_beside(str(output))
    tensorflow_files.save(f"{output}/model.ckpt-3", tensors)
    (output / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-3"\n')
    return output


def script_tags(output, found):
    """What run_tagger.py --do_predict writes for these sentences."""
    path = output.parent / "words.txt"
    # Words with a space are words of files of tabs.
    lines = ["\n".join(f"{word}\tX" for word in words) for words in found if words]
    path.write_text("\n\n".join(lines) + "\n", "utf-8")
    flags = ["--do_predict", f"--test_file={path}", f"--output_dir={output}"]
    scripts.run("run_tagger", *flags, "--tag_column=none")
    parts = (output / "test_predictions.txt").read_text("utf-8").strip("\n")
    tags = iter(
        [line.rpartition("\t")[2] for line in part.split("\n")]
        for part in parts.split("\n\n")
    )
    return [next(tags) if words else [] for words in found]


@pytest.mark.parametrize("kind", SYSTEMS)
def test_a_tagger_answers_words_as_the_script_does(tmp_path, kind):
    output = write_tagger(tmp_path, SYSTEMS[kind])
    found = sentences()
    wanted = script_tags(output, found)
    assert len({tag for tags in wanted for tag in tags}) > 2
    target = str(tmp_path / "export")
    export.export_model(str(output), target)
    predictor = export.load(target)
    for batch_size in (5, 32):
        assert predictor.predict(found, batch_size) == {"tags": wanted}
    assert predictor.labels == LABELS
    with pytest.raises(ValueError, match="sentence 1: got 'a b', .* a list of words"):
        predictor.predict([["a"], "a b"])
    with pytest.raises(ValueError, match=r"sentence 0: got \['a', ''\]"):
        predictor.predict([["a", ""]])
    with pytest.raises(ValueError, match="no sentences"):
        predictor.predict([])
    assert predictor.predict([[], []]) == {"tags": [[], []]}


@pytest.mark.parametrize(
    "changes",
    [
        {"crf": False, "tag_scheme": "IOBES", "output_scheme": "IOB1"},
        {"tag_scheme": "BILOU", "labels": ("O", "B", "I")},
        {"tag_scheme": "plain", "output_scheme": "plain", "labels": ("NN", "O", "VB")},
    ],
    ids=lambda changes: changes["tag_scheme"],
)
def test_tags_are_in_the_scheme_of_the_files(tmp_path, changes):
    output = write_tagger(tmp_path, tiny.system, **changes)
    found = sentences(seed=1)
    export.export_model(str(output), str(tmp_path / "export"))
    answers = export.load(str(tmp_path / "export")).predict(found)
    assert answers["tags"] == script_tags(output, found)


@pytest.mark.whole_steps
def test_a_trained_tagger_is_served_without_this_project(tmp_path):
    flags = tiny_tagging.flags(tmp_path, tmp_path / "out")
    scripts.run("run_tagger", *flags, "--do_train", "--num_train_epochs=4", "--crf")
    target = tmp_path / "served/1"
    scripts.run(
        "export_saved_model",
        f"--model_dir={tmp_path / 'out'}",
        f"--export_dir={target}",
    )
    words = [["bad", "word1", "good", "word26"], ["word2", "", "", ""]]
    done = forks.run(
        [sys.executable, "-c", CLIENT],
        input=json.dumps([str(target), words]),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == [
        ["B-LOC", "O", "B-PER", "I-PER"],
        ["O", "", "", ""],
    ]


def test_token_ids_are_tagged_as_their_words(tmp_path):
    output = write_tagger(tmp_path, tiny.system)
    export.export_model(str(output), str(tmp_path / "export"), dtype="bfloat16")
    model = tf.saved_model.load(str(tmp_path / "export"))
    signature = model.signatures["token_ids"]
    _, inputs = signature.structured_input_signature
    assert set(inputs) == {"input_ids", "input_mask", "word_positions"}
    ids = signature(
        input_ids=tf.constant([[2, 5, 6, 3], [2, 6, 3, 0]]),
        input_mask=tf.constant([[1, 1, 1, 1], [1, 1, 1, 0]]),
        word_positions=tf.constant([[1, 2], [1, 0]]),
    )["tag_ids"].numpy()
    assert ids.shape == (2, 2)
    assert (ids >= 0).tolist() == [[True, True], [True, False]]
    known = {label.decode() for label in model.labels.numpy()}
    words = tf.constant([["good", "bad"], ["bad", ""]])
    tags = model.signatures["serving_default"](words=words)["tags"].numpy()
    assert {tag.decode() for tag in tags.ravel()} - {""} <= known
    assert (tags != b"").tolist() == (ids >= 0).tolist()
    none = model.signatures["serving_default"](words=tf.constant([[""], [""]]))
    assert none["tags"].numpy().tolist() == [[b""], [b""]]


def write_elmo(folder, options):
    """Writes bilm-tf's folder of ELMo; returns its path."""
    model = ElmoModel(options, seed=8)
    tensors = {n: v.numpy() for n, v in modeling.named_variables(model).items()}
    vocab = write_vocabulary(folder)
    bilm.save(str(folder / "lm"), tensors, options, vocab, None)
    return str(folder / "lm")


@pytest.mark.parametrize(
    "options", [tiny_elmo.CONFIG, BY_TABLE], ids=["chars", "words"]
)
def test_elmos_vectors_are_those_that_are_extracted(tmp_path, options):
    source, target = write_elmo(tmp_path, options), tmp_path / "export"
    found = [words for words in sentences() if words and "good\u00a0" not in words]
    (tmp_path / "text.txt").write_text("\n".join(map(" ".join, found)), "utf-8")
    scripts.run(
        "extract_features",
        f"--init_checkpoint={source}",
        f"--input_file={tmp_path / 'text.txt'}",
        f"--output_file={tmp_path / 'vectors.jsonl'}",
    )
    lines = (tmp_path / "vectors.jsonl").read_text("utf-8").splitlines()
    export.export_model(source, str(target))
    predictor = export.load(str(target))
    assert predictor.labels == ()
    answers = predictor.predict([*found, []], batch_size=4)["vectors"]
    assert answers[-1].shape == (0, 3, 12)
    for words, line, vectors in zip(found, lines, answers, strict=False):
        features = json.loads(line)["features"]
        assert [feature["token"] for feature in features] == words
        wanted = [[x["values"] for x in feature["layers"]] for feature in features]
        np.testing.assert_allclose(vectors, wanted, atol=2e-5)


@pytest.mark.parametrize("name", ["elmo", "elmo_characters", "elmo_words"])
def test_vectors_of_elmoformanylangs_are_its_own(tmp_path, name):
    golden = pathlib.Path(__file__).parent / "golden/torch"
    found = json.loads((golden / "elmo_sentences.json").read_text())
    export.export_model(str(golden / name), str(tmp_path / "export"))
    answers = export.load(str(tmp_path / "export")).predict(found)["vectors"]
    wanted = np.load(golden / name / "vectors.npz")
    for i, vectors in enumerate(answers):
        expected = np.moveaxis(wanted[str(i)], 0, 1)
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_words_of_a_lexicon_are_spelled_in_a_graph_as_outside():
    folder = str(pathlib.Path(__file__).parent / "golden/torch/elmo")
    words = ["a", "<bos>", "<eos>", "overlongword" * 3, "\u3000", "é𝔸", "the", "<oov>"]
    for has_words, has_characters in ((True, True), (False, True), (True, False)):
        found = Lexicon.from_folder(folder, has_words, has_characters, 9)
        spelled = tf.function(found.in_graph())(tf.constant(words))
        np.testing.assert_array_equal(spelled, found.encode(words) + 1)


def test_elmo_is_exported_from_its_training_folder(tmp_path):
    model = modeling.ElmoLanguageModel(tiny_elmo.CONFIG, seed=4)
    tensors = {n: v.numpy() for n, v in modeling.named_variables(model).items()}
    output = tmp_path / "out"
    bilm.save_beside(str(output), tiny_elmo.CONFIG, None, None)
    tensorflow_files.save(f"{output}/model.ckpt-3", tensors)
    (output / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-3"\n')
    export.export_model(str(output), str(tmp_path / "export"))
    sentence = ["the", "w1"]
    [vectors] = export.load(str(tmp_path / "export")).predict([sentence])["vectors"]
    spelled = tf.constant(CharacterEncoder(8).batch([sentence]))
    wanted = model.lm(spelled)["lm_embeddings"][0]
    np.testing.assert_allclose(vectors, np.moveaxis(wanted, 0, 1), atol=1e-6)
    with pytest.raises(ValueError, match="no trained checkpoint in .*best"):
        export.export_model(str(output), str(tmp_path / "best"), use_checkpoint="best")


def test_what_is_missing_is_named(tmp_path):
    output = write_tagger(tmp_path, SYSTEMS["taglm"])
    (output / "vocab.txt").unlink()
    with pytest.raises(
        ValueError, match=f"--model_dir={output}: there is no vocab.txt"
    ):
        export.export_model(str(output), str(tmp_path / "export"))
    source = pathlib.Path(write_elmo(tmp_path, BY_TABLE))
    (source / "vocab.txt").unlink()
    with pytest.raises(ValueError, match="there is no vocabulary beside it"):
        export.export_model(str(source), str(tmp_path / "export"))
    assert not (tmp_path / "export").exists()
