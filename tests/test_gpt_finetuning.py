"""GPT through the scripts: one change of flags, the same tasks, folders, exports."""

import dataclasses
import json

import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_gpt
import tiny_squad
from absl import flags

import common_flags
import modeling
from checkpoints import gpt, tensorflow_files
from data_pipeline.readers.examples import InputExample, MultipleChoiceExample
from inference import export
from inference.extraction import FeatureExtractor
from inference.extraction_config import ExtractionConfig
from modeling import GptLanguageModel
from systems.classification_config import ClassificationConfig
from tasks.classification import ClassificationTask

pytestmark = pytest.mark.long

CONFIG = ClassificationConfig(
    task_name="tiny",
    output_kind="single_label",
    labels=("bad", "good"),
    metrics=("accuracy",),
    main_metric="accuracy",
    max_seq_length=24,
    do_lower_case=True,
)
ALL_STEPS = ("--do_train", "--do_eval", "--do_predict")


def make_task(folder, lm_coef=0.0, frozen_encoder=False, system=None, **changes):
    return ClassificationTask(
        dataclasses.replace(CONFIG, **changes),
        system or tiny_gpt.system(folder),
        lm_coef=lm_coef,
        frozen_encoder=frozen_encoder,
    )


def batch_of(task, examples, padding=0):
    """One batch of all examples, and of empty rows behind them."""
    spec = task.feature_spec
    columns = task.can.columns(examples, task.config)
    records = list(columns.records(spec))
    parsed, lengths = spec.parse(tf.constant(records))
    batch = spec.to_batch(parsed, lengths, len(records), 24)
    return {
        name: tf.pad(value, [[0, padding], *[[0, 0]] * (value.shape.rank - 1)])
        for name, value in batch.items()
    }


def model_of(task, seed=1):
    model = task.build_model(dtype="float32", fused=False, seed=seed)
    for variable in modeling.named_variables(model).values():
        variable.assign(variable * 8)  # new weights tell nothing apart
    return model


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def test_the_loss_is_the_tasks_and_half_the_language_models(tmp_path):
    task = make_task(tmp_path, lm_coef=0.5)
    model = model_of(task)
    texts = ["good word1", "bad", "word3 word4 bad"]
    examples = [InputExample("", text, None, text.split()[0][:4]) for text in texts]
    examples = [
        dataclasses.replace(e, label=label)
        for e, label in zip(examples, ("good", "bad", "bad"), strict=True)
    ]
    batch = batch_of(task, examples, padding=2)
    sums, counts = task.loss_sums(model, batch, None), task.loss_denominators(batch)
    assert {name: float(count) for name, count in counts.items()} == {
        "loss": 3,
        "lm_loss": 3,
    }
    ids = batch["input_ids"].numpy()
    plain = GptLanguageModel(task.system.config)
    plain.set_weights(model.get_weights()[: len(plain.weights)])
    by_hand = []
    for row in range(3):
        size = int(batch["input_mask"][row].numpy().sum())
        hidden = plain(tf.constant(ids[row : row + 1, :size]))["sequence_output"][0]
        scores = log_softmax(plain.lm_logits(hidden).numpy().astype(float))
        by_hand.append(-np.mean([scores[i, ids[row, i + 1]] for i in range(size - 1)]))
    np.testing.assert_allclose(sums["lm_loss"], 0.5 * sum(by_hand), rtol=1e-4)
    found = task.predict(model, batch)
    total = found["loss"][:3].numpy().mean() + 0.5 * np.mean(by_hand)
    np.testing.assert_allclose(task.total_loss(sums, counts), total, rtol=1e-4)
    chosen = [found["probabilities"][i, j].numpy() for i, j in enumerate((1, 0, 0))]
    np.testing.assert_allclose(found["loss"][:3], -np.log(chosen), rtol=1e-4)


def test_a_frozen_encoder_has_neither_language_model_nor_dropout(tmp_path):
    task = make_task(tmp_path, lm_coef=0.5, frozen_encoder=True)
    model = model_of(task)
    batch = batch_of(task, [InputExample("", "good", None, "good")])
    assert set(task.loss_sums(model, batch, None)) == {"loss"}
    assert set(task.loss_denominators(batch)) == {"loss"}
    still, dropped = (
        task.loss_sums(model, batch, seed)["loss"]
        for seed in (None, tf.constant([1, 2]))
    )
    assert still != dropped
    model.config = dataclasses.replace(model.config, clf_pdrop=0.0)
    assert task.loss_sums(model, batch, tf.constant([1, 2]))["loss"] == still


def test_similarity_does_not_depend_on_the_order_of_the_texts(tmp_path):
    a, b = "word1 good", "bad word2 word3"
    examples = [InputExample("", a, b, "good"), InputExample("", b, a, "good")]
    both = make_task(tmp_path, symmetric=True, text_pair=True)
    model = model_of(both)
    found = both.predict(model, batch_of(both, examples))["probabilities"].numpy()
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    single = make_task(tmp_path, text_pair=True)
    found = single.predict(model_of(single), batch_of(single, examples))
    found = np.log(found["probabilities"].numpy())
    assert abs(found[0] - found[1]).max() > 1e-2


@pytest.mark.parametrize(
    ("kind", "labels", "shape"),
    [
        ("regression", (), (2, 1)),
        ("multi_label", ("a", "b", "c"), (2, 3)),
        ("multiple_choice", ("1", "2", "3", "4"), (2, 4)),
    ],
)
def test_every_kind_of_output_has_its_shape_and_a_loss(tmp_path, kind, labels, shape):
    task = make_task(tmp_path, output_kind=kind, labels=labels)
    label = {"regression": 0.5, "multi_label": ("a", "c")}.get(kind, "3")
    endings = ("bad", "good", "word1", "word1 good")
    examples = [
        MultipleChoiceExample("", text, None, label, endings) for text in ("good", "x")
    ]
    batch = batch_of(task, examples, padding=1)
    found = task.predict(model_of(task), batch)
    assert found["probabilities"].shape == (shape[0] + 1, shape[1])
    assert np.isfinite(found["loss"]).all()
    sums = found["probabilities"][:2].numpy().sum(axis=1)
    if kind == "multiple_choice":
        np.testing.assert_allclose(sums, 1, rtol=1e-5)


def test_a_pretrained_model_gets_rows_for_the_special_tokens(tmp_path):
    vocab, _ = tiny_gpt.write_model(tmp_path)
    donor = modeling.named_variables(GptLanguageModel(tiny_gpt.CONFIG, seed=7))
    tensors = {name: variable.numpy() for name, variable in donor.items()}
    folder = tmp_path / "pretrained"
    gpt.save_beside(str(folder), tiny_gpt.CONFIG, vocab, None)
    tensorflow_files.save(str(folder / "model.ckpt-1"), tensors)
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-1"\n')
    system = tiny_gpt.system(tmp_path, init_checkpoint=str(folder))
    task = make_task(tmp_path, system=system)
    model = task.build_model(dtype="float32", fused=False, seed=1)
    variables = modeling.named_variables(model)
    before = variables["we"].numpy()
    task.initialize(variables)
    after, tokens = variables["we"].numpy(), tiny_gpt.CONFIG.n_vocab
    np.testing.assert_array_equal(after[:tokens], tensors["we"][:tokens])
    np.testing.assert_array_equal(after[tokens + 3 :], tensors["we"][tokens:])
    special = slice(tokens, tokens + 3)
    np.testing.assert_array_equal(after[special], before[special])
    name = "h1/mlp/c_fc/w"
    np.testing.assert_array_equal(variables[name], tensors[name])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder that run_classifier.py trained, evaluated and predicted from."""
    folder = tmp_path_factory.mktemp("gpt")
    flags = tiny_gpt.classifier_flags(folder, folder / "out", *ALL_STEPS)
    scripts.run("run_classifier", *flags, "--num_train_epochs=2")
    return folder


def test_a_trained_folder_stands_alone(trained, tmp_path):
    output = trained / "out"
    results = tiny.read_results(output / "eval_results.txt")
    assert {"eval_accuracy", "eval_loss", "global_step"} <= set(results)
    config = json.loads((output / "gpt_config.json").read_text())
    assert config["n_special"] == 3
    before = np.loadtxt(output / "test_results.tsv")
    assert before.shape == (11, 2)
    (output / "test_results.tsv").unlink()
    keep = ("--task", "--data", "--text", "--label")
    flags = tiny_gpt.classifier_flags(trained, output)
    flags = [flag for flag in flags if flag.startswith(keep)]
    model = ("vocab.json", "merges.txt", "gpt_config.json")
    for name in model:
        (trained / name).unlink()
    scripts.run(
        "run_classifier",
        *flags,
        f"--output_dir={output}",
        "--do_predict",
    )
    np.testing.assert_array_equal(np.loadtxt(output / "test_results.tsv"), before)


def test_the_exported_model_answers_as_the_script(trained, tmp_path):
    exported = str(tmp_path / "export")
    export.export_model(str(trained / "out"), exported)
    loaded = tf.saved_model.load(exported)
    for name in ("serving_default", "token_ids"):
        _, inputs = loaded.signatures[name].structured_input_signature
        assert set(inputs) == {"input_ids", "input_mask"}
    predictor = export.load(exported)
    assert (predictor.labels, predictor.text_pair) == (("bad", "good"), False)
    texts = [e.text_a for e in tiny.examples(11, 2)]
    wanted = np.loadtxt(trained / "out" / "test_results.tsv")
    for batch_size in (4, 11):
        found = predictor.predict(texts, batch_size)
        np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-5)
        best = [predictor.labels[i] for i in wanted.argmax(axis=1)]
        assert found["labels"].tolist() == best
    with pytest.raises(ValueError, match="text 1: got .* wants a text"):
        predictor.predict(["good", ("good", "bad")])


def test_pairs_of_all_lengths_are_scored_in_both_orders(tmp_path):
    rows = ["a\tb\ty", "good\tbad\t1", f"{'good ' * 12}\t{'bad ' * 12}\t0"]
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    scripts.run(
        "run_classifier",
        "--task_name=custom",
        f"--data_dir={tmp_path}",
        *("--text_a_column=a", "--text_b_column=b", "--label_column=y", "--symmetric"),
        f"--output_dir={tmp_path / 'out'}",
        *tiny_gpt.model_flags(tmp_path),
        *ALL_STEPS,
        "--train_batch_size=1",
        "--num_train_epochs=1",
    )
    assert np.loadtxt(tmp_path / "out/test_results.tsv").shape == (2, 2)
    assert "eval_accuracy" in tiny.read_results(tmp_path / "out/eval_results.txt")


def test_stories_are_trained_on_predicted_and_exported(tmp_path):
    output, exported = tmp_path / "out", str(tmp_path / "export")
    flags = [
        "--task_name=rocstories",
        f"--data_dir={tiny_gpt.write_stories(tmp_path / 'roc')}",
        f"--output_dir={output}",
        *tiny_gpt.model_flags(tmp_path),
        "--max_train_examples=24",
        "--num_train_epochs=1",
        "--do_train",
        "--do_predict",
    ]
    scripts.run("run_classifier", *flags)
    wanted = np.loadtxt(output / "test_results.tsv")
    assert wanted.shape == (7, 2)
    np.testing.assert_allclose(wanted.sum(axis=1), 1, atol=1e-6)
    assert "test_accuracy" in tiny.read_results(output / "test_metrics.txt")
    export.export_model(str(output), exported)
    predictor = export.load(exported)
    task_examples = scripts.load("run_classifier").PROCESSORS["rocstories"]()
    examples = task_examples.get_test_examples(str(tmp_path / "roc"))
    found = predictor.predict([(e.text_a, *e.endings) for e in examples])
    np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-5)
    with pytest.raises(ValueError, match="text 0: got .* wants 3 texts together"):
        predictor.predict([("a story", "one ending")])


def test_questions_are_answered_in_the_words_of_the_context(tmp_path):
    output, exported = tmp_path / "out", str(tmp_path / "export")
    flags = [
        *tiny_squad.write(tmp_path, train=24, dev=9, impossible=0.3),
        *tiny_gpt.model_flags(tmp_path),
        f"--output_dir={output}",
        "--doc_stride=9",
        "--max_query_length=6",
        "--num_train_epochs=1",
        "--version_2_with_negative",
        *ALL_STEPS,
    ]
    scripts.run("run_squad", *flags)
    assert "best_f1" in tiny.read_results(output / "eval_results.txt")
    answers = json.loads((output / "predictions.json").read_text())
    nbest = json.loads((output / "nbest_predictions.json").read_text())
    odds = json.loads((output / "null_odds.json").read_text())
    (article,) = json.loads((tmp_path / "dev.json").read_text())["data"]
    texts = []
    for paragraph in article["paragraphs"]:
        (question,) = paragraph["qas"]
        texts.append((question["question"], paragraph["context"]))
        assert answers[question["id"]] in paragraph["context"]
        spans = [entry["text"] for entry in nbest[question["id"]] if entry["text"]]
        assert spans
        assert all(span in paragraph["context"] for span in spans)
    # Its score tells questions apart: it is not read where nothing was seen yet.
    assert len({round(value, 6) for value in odds.values()}) > 1
    export.export_model(str(output), exported)
    found = export.load(exported).predict(texts, batch_size=4)
    assert found["answers"].tolist() == list(answers.values())
    np.testing.assert_allclose(found["null_odds"], list(odds.values()), atol=1e-4)


@pytest.fixture
def extract(tmp_path):
    def run(lines, **config):
        config = {"max_seq_length": 24, "layers": (-1,)} | config
        system = tiny_gpt.system(tmp_path)
        extractor = FeatureExtractor(ExtractionConfig(**config), system)
        return list(extractor.extract(lines)), extractor

    return run


def test_features_are_of_the_texts_pieces_alone(extract):
    (first, empty), extractor = extract(["word1 good", ""])
    assert first.tokens == ("word", "1</w>", "good</w>")
    assert empty.tokens == ("<unk>",)
    ids = [tiny_gpt.PIECES.index(piece) for piece in first.tokens]
    wanted = extractor._model(tf.constant([ids]))["sequence_output"][0]
    np.testing.assert_allclose(first.values[:, 0], wanted, atol=1e-5)
    (pooled,), _ = extract(["word1 good"], pooling="mean")
    np.testing.assert_allclose(
        np.ravel(pooled.values), np.mean(wanted, axis=0), atol=1e-5
    )


def test_long_lines_are_read_in_windows_up_to_n_ctx(extract):
    line = "good " * 30
    (found,), _ = extract([line], long="window")
    assert found.tokens == ("good</w>",) * 30
    with pytest.raises(ValueError, match="wanted 3 to 40, the model's n_ctx"):
        extract([line], max_seq_length=41)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max_seq_length=41"], r"--max_seq_length=41.*only n_ctx=40"),
        (["--model_type=bert"], r"--model_type=bert.*gpt_config.json is that of gpt"),
        (["--optimizer=sgd"], r"optimizer"),
        (["--nodo_lower_case"], r"--do_lower_case=False.*lower-cased text"),
    ],
)
def test_impossible_flags_name_themselves(tmp_path, flags, message):
    command = tiny_gpt.classifier_flags(tmp_path, tmp_path / "out", "--do_train")
    with pytest.raises(Exception, match=f"(?s){message}"):
        scripts.run("run_classifier", *command, *flags)


@pytest.mark.parametrize(("decay", "wanted"), [("linear", 1), ("warmup_linear", 1.6)])
def test_the_share_that_warms_up_is_cut_by_the_parents_schedules_only(decay, wanted):
    scripts.load("run_classifier")
    given = ["--num_train_epochs=1", "--train_batch_size=8", "--output_dir=out"]
    flags.FLAGS(["run_classifier", *given, f"--learning_rate_decay={decay}"])
    try:
        run = common_flags.finetuning_config(128)
    finally:
        flags.FLAGS.unparse_flags()
    assert run.optimizer.num_warmup_steps == pytest.approx(wanted)


def test_a_vocabulary_of_another_model_is_refused_with_both_sizes(tmp_path):
    command = tiny_gpt.classifier_flags(tmp_path, tmp_path / "out", "--do_train")
    pieces = {piece: i for i, piece in enumerate([*tiny_gpt.PIECES, "z"])}
    (tmp_path / "vocab.json").write_text(json.dumps(pieces))
    sizes = f"vocab.json has {len(pieces)} pieces.*n_vocab={len(tiny_gpt.PIECES)}"
    with pytest.raises(ValueError, match=sizes):
        scripts.run("run_classifier", *command)


def test_what_bert_cannot_do_is_refused(tmp_path):
    bert = tiny.classifier_command(tmp_path, tmp_path / "out", "--do_train")[2:]
    with pytest.raises(ValueError, match="--lm_coef=0.1 is not for bert, only for gpt"):
        scripts.run("run_classifier", *bert, "--lm_coef=0.1")
    stories = tiny_gpt.write_stories(tmp_path / "roc")
    with pytest.raises(ValueError, match="rocstories is a multiple choice"):
        scripts.run(
            "run_classifier", *bert, "--task_name=rocstories", f"--data_dir={stories}"
        )
