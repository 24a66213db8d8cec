"""A SavedModel answers, in a process without this project, as the script does."""

import dataclasses
import json
import os
import pathlib
import sys

import forks
import numpy as np
import pytest
import tensorflow as tf

import modeling
import tokenization
from checkpoints import google_bert
from data_pipeline.features import bert as features
from data_pipeline.features import bert_graph, tokens, tokens_graph
from data_pipeline.readers.examples import InputExample
from inference import export
from modeling import BertConfig
from optimization.optimizers import OptimizerConfig
from systems.bert import BertSystem
from tasks.classification import ClassificationConfig, ClassificationTask
from tokenization_tf import FastTokenizer
from training.config import TrainingConfig
from training.strategy import DistributionConfig, make_strategy
from training.trainer import Trainer

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).resolve().parent.parent
GROUPS = json.loads((ROOT / "tests/golden/tokenization.json").read_text("utf-8"))
WORDS = ["good", "bad", "und", "##er", "e", "é", "中", "ab", "!", *map(str, range(20))]
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
BERT = BertConfig(
    vocab_size=len(VOCAB),
    hidden_size=15,
    num_hidden_layers=1,
    num_attention_heads=3,
    intermediate_size=21,
    max_position_embeddings=40,
    type_vocab_size=2,
    initializer_range=0.3,
)
SINGLE = ClassificationConfig(
    task_name="custom",
    output_kind="single_label",
    labels=("négatif", "neutral", "positive"),
    metrics=("accuracy",),
    main_metric="accuracy",
    max_seq_length=11,
    do_lower_case=True,
)
MULTI = {"output_kind": "multi_label", "metrics": ("micro_f1",)}
SCORE = {"output_kind": "regression", "metrics": ("pearson",), "labels": ()}
KINDS = {
    "single": SINGLE,
    "pair": dataclasses.replace(SINGLE, text_pair=True, do_lower_case=False),
    "multi_label": dataclasses.replace(SINGLE, **MULTI),
    "regression": dataclasses.replace(SINGLE, **SCORE, text_pair=True),
}
TEXTS = [
    "good",
    "",
    " \t\n ",
    "Good BAD under 7",
    "ÉÉ é ! 中ab中",
    "a\x00b\x07 go\u200bod\ufffd ba\rd",
    "bad " * 30,
    " ".join(map(str, range(9))),
    " ".join(map(str, range(10))),
    "x" * 300 + " good",
    "😀 good",
]
PAIRS = [(a, b) for a in TEXTS for b in TEXTS[::2]]
# All that a client needs; it has neither our modules nor their folder.
CLIENT = """\
import json, sys
import tensorflow as tf, tensorflow_text
answers = {}
for name, (folder, texts) in json.load(sys.stdin).items():
    model = tf.saved_model.load(folder)
    texts = {key: tf.constant(value) for key, value in texts.items()}
    found = model.signatures["serving_default"](**texts)
    found["all_labels"] = model.labels
    answers[name] = {
        key: [name.decode() for name in value.numpy().ravel()]
        if value.dtype == tf.string
        else value.numpy().tolist()
        for key, value in found.items()
    }
assert not {"export", "tokenization", "modeling"} & set(sys.modules)
json.dump(answers, sys.stdout)
"""


def make_task(folder, config, vocab=VOCAB, **changes):
    """Writes a vocabulary; returns a task over it."""
    vocab_file = folder / "vocab.txt"
    vocab_file.write_text("".join(f"{piece}\n" for piece in vocab), encoding="utf-8")
    bert = dataclasses.replace(BERT, vocab_size=len(vocab), **changes)
    system = BertSystem(bert, str(vocab_file), config.do_lower_case)
    return ClassificationTask(config, system)


def write_checkpoint(folder, task, seed, step=3):
    """Writes what a training leaves: weights, optimizer slots, what stands beside."""
    model = task.build_model(dtype="float32", fused=False, seed=seed)
    tensors = {n: v.numpy() for n, v in modeling.named_variables(model).items()}
    tensors["output_weights"] *= 8  # new heads tell nothing apart
    slots = {"output_bias/adam_m": tensors["output_bias"], "trainer/x": np.int64(1)}
    slots["global_step"] = np.int64(step)
    google_bert.save(f"{folder}/model.ckpt-{step}", tensors | slots)
    state = f'model_checkpoint_path: "model.ckpt-{step}"\n'
    pathlib.Path(folder, "checkpoint").write_text(state)
    task.save_beside(str(folder))


def make_model_dir(folder, config, **changes):
    """Returns a task and its output folder, with other weights in best/."""
    folder.mkdir(parents=True, exist_ok=True)
    task = make_task(folder, config, **changes)
    output = folder / "output"
    write_checkpoint(output, task, seed=1)
    write_checkpoint(output / "best", task, seed=2, step=2)
    return task, output


def script_predictions(task, output, texts):
    """Returns what run_classifier.py writes to test_results.tsv, unrounded."""
    label = 0.5 if task.config.output_kind == "regression" else task.config.labels[0]
    rows = [(text, None) if isinstance(text, str) else text for text in texts]
    examples = [InputExample(str(i), *row, label) for i, row in enumerate(rows)]
    trainer = Trainer(
        task,
        make_strategy(DistributionConfig()),
        TrainingConfig(str(output), 0, optimizer=OptimizerConfig()),
    )
    trainer.restore(tf.train.latest_checkpoint(str(output)))
    records = task.records("predict", examples, str(output))
    return trainer.predict(records, 8)["probabilities"]


def columns(texts):
    """Returns the texts as the signature's arguments."""
    if isinstance(texts[0], str):
        return {"text_a": list(texts)}
    return {"text_a": [a for a, _ in texts], "text_b": [b for _, b in texts]}


def texts_of(config):
    return PAIRS if config.text_pair else TEXTS


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Kind -> (task, output folder, export folder)."""
    root = tmp_path_factory.mktemp("models")
    found = {}
    for kind, config in KINDS.items():
        task, output = make_model_dir(root / kind, config)
        export.export_model(str(output), str(root / kind / "export"))
        found[kind] = task, output, str(root / kind / "export")
    return found


@pytest.fixture(scope="module")
def client_answers(exported, tmp_path_factory):
    """Kind -> what a process without this project gets."""
    request = {
        kind: (folder, columns(texts_of(task.config)))
        for kind, (task, _, folder) in exported.items()
    }
    done = forks.run(
        [sys.executable, "-c", CLIENT],
        input=json.dumps(request),
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_without_this_project_agrees_with_the_script(
    exported, client_answers, kind
):
    task, output, _ = exported[kind]
    config, answers = task.config, client_answers[kind]
    expected = script_predictions(task, output, texts_of(config))
    assert np.ptp(expected, axis=0).min() > 1e-2  # the texts make a difference
    assert answers.pop("all_labels") == list(config.labels)
    if config.output_kind == "regression":
        assert set(answers) == {"scores"}
        scores = np.array(answers["scores"], np.float32)
        np.testing.assert_allclose(scores, expected[:, 0], rtol=0, atol=1e-5)
        return
    probabilities = np.array(answers["probabilities"], np.float32)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
    if config.output_kind == "single_label":
        named = [config.labels[i] for i in expected.argmax(axis=1)]
        assert answers.pop("labels") == named
    assert set(answers) == {"label_names", "probabilities"}
    assert answers["label_names"] == list(config.labels) * len(expected)


def test_texts_are_laid_out_and_cut_as_the_training_data(tmp_path):
    rng = np.random.default_rng(3)
    for max_seq_length in (3, 4, 11, 12):
        config = dataclasses.replace(SINGLE, max_seq_length=max_seq_length)
        task = make_task(tmp_path, config)
        pairs = [
            [" ".join(rng.choice(WORDS, size=size)) for size in rng.integers(0, 14, 2)]
            for _ in range(60)
        ] + [["", ""], ["good", ""], ["", "bad"]]
        examples = [InputExample(str(i), *p, "neutral") for i, p in enumerate(pairs)]
        tokenizer = FastTokenizer(task.system.vocab_file, True)
        wanted = features.classification_columns(
            examples, tokenizer, max_seq_length, config.labels, "single_label"
        )
        encoder = bert_graph.TextEncoder(tokenizer.vocab, True, max_seq_length)
        batch = encoder(*(tf.constant(column) for column in zip(*pairs, strict=True)))
        real = batch["input_mask"].numpy() == 1
        lengths = real.sum(axis=1)
        assert real.shape[1] == lengths.max()  # padded to the longest, no further
        np.testing.assert_array_equal(lengths, np.diff(wanted.offsets))
        for name in ("input_ids", "segment_ids"):
            values = batch[name].numpy()
            assert batch[name].dtype == tf.int32
            np.testing.assert_array_equal(values[real], getattr(wanted, name))
            assert not values[~real].any()


def test_lengths_kept_are_those_of_the_training_data():
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(18), np.arange(18)))
    for max_seq_length in range(3, 20):
        kept = tokens_graph.kept_lengths(a, b, max_seq_length)
        wanted = tokens.truncated_lengths(a, b, max_seq_length)
        np.testing.assert_array_equal(kept, wanted)


@pytest.mark.parametrize("group", GROUPS, ids=["uncased", "cased", "chinese"])
def test_exported_tokenizer_agrees_on_every_golden_case(tmp_path, group):
    check_golden(tmp_path, group["vocab"], group["do_lower_case"], group["cases"])


@pytest.mark.shared_data
@pytest.mark.parametrize("vocab", sorted({group["source_vocab"] for group in GROUPS}))
def test_exported_tokenizer_agrees_on_every_original_case(
    tmp_path, shared_dir, golden_dir, vocab
):
    path = golden_dir / "pretraining_data/tokenization.json"
    cases = [c for c in json.loads(path.read_text("utf-8")) if c["vocab"] == vocab]
    assert len(cases) > 300
    pieces = tokenization.load_vocab(str(shared_dir / "vocab" / vocab))
    check_golden(tmp_path, list(pieces), cases[0]["do_lower_case"], cases)


def check_golden(folder, vocab, do_lower_case, cases):
    """Compares the ids inside a loaded export with FullTokenizer's and the golden."""
    longest = 512
    config = dataclasses.replace(
        SINGLE, max_seq_length=longest, do_lower_case=do_lower_case
    )
    _, output = make_model_dir(
        folder, config, vocab=vocab, max_position_embeddings=longest, hidden_size=3
    )
    export.export_model(str(output), str(folder / "export"))
    encode = tf.saved_model.load(str(folder / "export")).encode
    found = encode(text_a=tf.constant([case["text"] for case in cases]))
    full = tokenization.FullTokenizer(str(folder / "vocab.txt"), do_lower_case)
    rows = zip(cases, found["input_ids"].numpy(), found["input_mask"], strict=True)
    for case, row, mask in rows:
        ids = full.convert_tokens_to_ids(case["tokens"])
        assert ids == full.convert_tokens_to_ids(full.tokenize(case["text"]))
        ids = [full.vocab["[CLS]"], *ids[: longest - 2], full.vocab["[SEP]"]]
        assert row[mask == 1].tolist() == ids, case["text"]


def test_token_ids_are_answered_as_their_texts(exported):
    task, _, folder = exported["pair"]
    model = tf.saved_model.load(folder)
    texts = {k: tf.constant(v) for k, v in columns(PAIRS).items()}
    tokens = model.encode(**texts)
    signature = model.signatures["token_ids"]
    _, inputs = signature.structured_input_signature
    assert inputs == task.feature_spec.signature()
    by_tokens, by_texts = signature(**tokens), model.signatures[export.TEXTS](**texts)
    assert set(by_tokens) == {"labels", "label_names", "probabilities"}
    for name, value in by_texts.items():
        np.testing.assert_array_equal(by_tokens[name], value)


def test_answers_come_in_the_order_of_the_texts_whatever_the_batch(exported):
    for kind in ("single", "pair"):
        task, output, folder = exported[kind]
        texts = texts_of(task.config)
        predictor = export.load(folder)
        assert predictor.labels == task.config.labels
        assert predictor.text_pair == task.config.text_pair
        expected = script_predictions(task, output, texts)
        for batch_size in (4, len(texts)):
            answers = predictor.predict(texts, batch_size)
            np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
            best = expected.argmax(axis=1)
            assert answers["labels"].tolist() == [predictor.labels[i] for i in best]


def test_texts_and_pairs_are_not_mixed_up(exported):
    single, pair = (export.load(exported[kind][2]) for kind in ("single", "pair"))
    with pytest.raises(ValueError, match="text 1: got .*the model wants a text"):
        single.predict(["good", ("good", "bad")])
    for wrong in ("ab", ("good",), ("good", "bad", "good")):
        with pytest.raises(ValueError, match="text 0: got .*wants a pair of texts"):
            pair.predict([wrong])
    with pytest.raises(ValueError, match="no texts"):
        single.predict([])


def test_an_empty_batch_is_answered_and_unequal_columns_are_refused(exported):
    signature = tf.saved_model.load(exported["pair"][2]).signatures[export.TEXTS]
    none = tf.constant([], tf.string)
    assert signature(text_a=none, text_b=none)["probabilities"].shape == (0, 3)
    for more, less in ((2, 1), (1, 2), (3, 2)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="differ in number"):
            signature(
                text_a=tf.constant(["a"] * more), text_b=tf.constant(["b"] * less)
            )


def test_best_checkpoint_and_dtype_are_those_asked_for(exported, tmp_path):
    task, output, folder = exported["single"]
    wanted = {
        "last": script_predictions(task, output, TEXTS),
        "best": script_predictions(task, output / "best", TEXTS),
    }
    assert np.abs(wanted["last"] - wanted["best"]).max() > 0.1
    best, half = str(tmp_path / "best"), str(tmp_path / "half")
    export.export_model(str(output), best, use_checkpoint="best")
    export.export_model(str(output), half, dtype="bfloat16")
    found = export.load(best).predict(TEXTS)["probabilities"]
    np.testing.assert_allclose(found, wanted["best"], rtol=0, atol=1e-5)
    found = export.load(half).predict(TEXTS)["probabilities"]
    assert found.dtype == np.float32
    assert 1e-5 < np.abs(found - wanted["last"]).max() < 0.1


def test_a_model_needs_no_compiler_to_be_served(exported):
    graph = tf.saved_model.load(exported["single"][2]).signatures[export.TEXTS].graph
    functions = graph.as_graph_def().library.function
    assert any(node.op == "MatMul" for f in functions for node in f.node_def)
    for function in functions:
        assert not function.attr["_XlaMustCompile"].b, function.signature.name
