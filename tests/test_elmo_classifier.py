"""A classifier on ELMo: features by default, padding, pairs, a folder that stands."""

import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_elmo
from test_training import tensors

import modeling
from checkpoints import bilm
from data_pipeline.readers.examples import InputExample
from inference import export
from modeling import ElmoClassifier, ElmoModel
from systems.classification_config import ClassificationConfig
from systems.elmo import ElmoSystem
from vocabulary import CharacterEncoder, Vocabulary

pytestmark = pytest.mark.long

CONFIG = ClassificationConfig(
    task_name="tiny",
    output_kind="single_label",
    labels=("bad", "good"),
    metrics=("accuracy",),
    main_metric="accuracy",
    max_seq_length=7,
    do_lower_case=False,
)


def characters(*sentences):
    encoder = CharacterEncoder(8, Vocabulary(tiny_elmo.VOCAB))
    return tf.constant(encoder.batch([line.split() for line in sentences]))


@pytest.mark.parametrize("fused", [False, True])
def test_padding_never_changes_the_scores(fused):
    model = ElmoClassifier(tiny_elmo.CONFIG, 3, seed=2, fused=fused)
    lines = ("the w1 zoë", "a", "w2 w3 w4 w5 w6")
    together = model(characters(*lines))["logits"]
    for row, line in enumerate(lines):
        alone = model(characters(line))["logits"][0]
        np.testing.assert_allclose(together[row], alone, atol=1e-5)
    assert np.ptp(together, axis=0).min() > 1e-4


def test_a_classifier_is_remade_from_its_keras_config():
    model = ElmoClassifier(tiny_elmo.CONFIG, 3, frozen_encoder=True, seed=4)
    again = ElmoClassifier.from_config(model.get_config())
    ids = characters("the w1")
    left, right = (m(ids)["logits"] for m in (model, again))
    np.testing.assert_array_equal(left, right)


def test_a_frozen_encoder_has_no_dropout_and_no_gradient():
    seed = tf.constant([3, 5])
    model = ElmoClassifier(tiny_elmo.CONFIG, 3, frozen_encoder=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(characters("the w1"), seed)["logits"])
    named = modeling.named_variables(model)
    values = [variable.value for variable in named.values()]
    gradients = tape.gradient(loss, values)
    learnt = {n for n, g in zip(named, gradients, strict=True) if g is not None}
    assert learnt == {name for name in named if name.startswith("classifier/")}
    assert "classifier/scalar_mix/ELMo_W" in learnt


def test_pairs_are_read_as_sentence_after_sentence():
    system = ElmoSystem(tiny_elmo.CONFIG)
    examples = [
        InputExample("0", "the w1 w2", "a w3", "good"),
        InputExample("1", "w1 w2 w3 w4 w5 w6", None, "bad"),
        InputExample("2", "", None, "bad"),
    ]
    columns = system.need("classifies").columns(examples, CONFIG)
    assert [list(words) for words in columns.sentences] == [
        ["<S>", "the", "w1", "</S>", "<S>", "a", "</S>"],
        ["<S>", "w1", "w2", "w3", "w4", "w5", "</S>"],
        ["<S>", "</S>"],
    ]
    assert columns.truncated_examples == 2
    assert columns.dropped_tokens == 3
    spec = system.need("classifies").spec(CONFIG)
    parsed, lengths = spec.parse(tf.constant(list(columns.records(spec))))
    np.testing.assert_array_equal(lengths, [7, 7, 2])
    whole = parsed["input_ids"][1]
    np.testing.assert_array_equal(whole, characters("w1 w2 w3 w4 w5")[0])


def classify(folder, init, output, *more):
    """Runs the script on texts with a good or bad word in them."""
    data = tiny.write_data(folder / "data", train=60, dev=23)
    scripts.run(
        "run_classifier",
        *tiny.COLUMNS,
        f"--data_dir={data}",
        f"--init_checkpoint={init}",
        f"--output_dir={output}",
        "--max_seq_length=24",
        "--train_batch_size=8",
        "--do_eval",
        *more,
    )
    return tiny.read_results(output / "eval_results.txt")


def write_bilm(folder):
    """Writes a language model in bilm-tf's format; returns its tensors."""
    model = ElmoModel(tiny_elmo.CONFIG, seed=6)
    encoder = {n: v.numpy() for n, v in modeling.named_variables(model).items()}
    bilm.save(str(folder), encoder, tiny_elmo.CONFIG, None, None)
    return encoder


def test_features_are_the_default_and_the_folder_stands_alone(tmp_path):
    encoder = write_bilm(tmp_path / "bilm")
    flags = ("--do_train", "--num_train_epochs=1", "--learning_rate=1e-2")
    out = tmp_path / "out"
    results = classify(tmp_path, tmp_path / "bilm", out, *flags)
    trained = tensors(tf.train.latest_checkpoint(str(out)))
    for name, value in encoder.items():
        np.testing.assert_array_equal(trained[name], value)
    assert trained["classifier/scalar_mix/ELMo_W"].any()  # it began as zeros
    again = classify(tmp_path, out, tmp_path / "again")
    assert again["eval_loss"] == pytest.approx(results["eval_loss"], rel=1e-5)
    classify(tmp_path, out, tmp_path / "again", "--do_predict")
    wanted = np.loadtxt(tmp_path / "again" / "test_results.tsv")
    export.export_model(str(out), str(tmp_path / "export"))
    texts = [example.text_a for example in tiny.examples(11, 2)]
    found = export.load(str(tmp_path / "export")).predict(texts)["probabilities"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_fine_tuned_language_model_moves_as_a_whole(tmp_path):
    encoder = write_bilm(tmp_path / "bilm")
    flags = ("--do_train", "--num_train_epochs=1", "--finetune_encoder=true")
    out = tmp_path / "out"
    classify(tmp_path, tmp_path / "bilm", out, *flags)
    trained = tensors(tf.train.latest_checkpoint(str(out)))
    assert not {n for n, v in encoder.items() if np.array_equal(trained[n], v)}
