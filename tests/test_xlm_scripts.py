"""XLM through the scripts: it learns in one language, and is asked in others."""

import json

import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_squad
import tiny_tagging
import tiny_xlm

from checkpoints import word_vectors
from errors import UserError
from inference import serving

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    """The folder of a classifier, trained on two languages."""
    folder = tmp_path_factory.mktemp("xlm")
    data = tiny_xlm.write_data(folder / "data")
    scripts.run(
        "run_classifier",
        *tiny.COLUMNS,
        f"--data_dir={data}",
        "--language_column=lang",
        f"--output_dir={folder}/out",
        *tiny_xlm.model_flags(folder),
        "--num_train_epochs=12",
        "--do_train",
        "--do_eval",
        "--do_predict",
    )
    return folder


@pytest.mark.whole_steps
def test_a_classifier_has_an_accuracy_for_each_language(classified):
    results = tiny.read_results(classified / "out/eval_results.txt")
    assert results["eval_accuracy"] > 0.9
    per_language = [results[f"{name}_eval_accuracy"] for name in ("de", "en")]
    # Of 37 examples 19 are German.
    mean = np.average(per_language, weights=[19, 18])
    assert mean == pytest.approx(results["eval_accuracy"], abs=1e-5)


def test_a_trained_classifier_is_asked_in_another_language(classified, tmp_path):
    data = tiny.write_data(tmp_path / "data")
    common = [*tiny.COLUMNS, f"--data_dir={data}", f"--output_dir={classified}/out"]
    with pytest.raises(UserError, match="dev.tsv: no column 'lang'; found"):
        scripts.run("run_classifier", *common, "--do_eval")
    with pytest.raises(UserError, match="language 'fr': the model knows de, en, zh"):
        scripts.run("run_classifier", *common, "--do_eval", "--language=fr")
    told = tiny_xlm.write_data(tmp_path / "told", ["de", "fr"])
    column = ["--language_column=lang", f"--data_dir={told}", *common[4:]]
    with pytest.raises(UserError, match="dev.tsv:3: language 'fr'; the model knows de"):
        scripts.run("run_classifier", *tiny.COLUMNS, *column, "--do_eval")
    scripts.run("run_classifier", *common, "--do_eval", "--language=de")
    results = tiny.read_results(classified / "out/eval_results.txt")
    assert results["eval_accuracy"] > 0.9


def test_an_unknown_language_is_told_before_anything_is_written(classified, tmp_path):
    told = tiny_xlm.write_data(tmp_path / "told", ["de", "fr"])
    flags = [
        *tiny.COLUMNS,
        f"--data_dir={told}",
        "--language_column=lang",
        "--do_train",
    ]
    flags += [f"--init_checkpoint={classified}/out", f"--output_dir={tmp_path}/new"]
    with pytest.raises(UserError, match="train.tsv:3: language 'fr'; the model knows"):
        scripts.run("run_classifier", *flags)
    assert not (tmp_path / "new").exists()


def test_an_export_takes_the_language(classified, tmp_path):
    scripts.run(
        "export_saved_model",
        f"--model_dir={classified}/out",
        f"--export_dir={tmp_path}/export",
    )
    served = tf.saved_model.load(f"{tmp_path}/export")
    token_ids = served.signatures["token_ids"]
    _, inputs = token_ids.structured_input_signature
    assert set(inputs) == {"input_ids", "input_mask", "language_ids"}
    pieces = tiny_xlm.pieces(tmp_path)
    found = np.loadtxt(classified / "out/test_results.tsv", delimiter="\t")
    for i, example in enumerate(tiny.examples(2, 2)):
        words = [pieces.ids_of[word] for word in example.text_a.split()]
        ids = [1, *sum(map(list, words), []), 1][:47] + [1]
        ids = tf.constant([ids[: ids.index(1, 1) + 1]], tf.int32)
        language = tf.constant([i % 2], tf.int32)
        got = token_ids(
            input_ids=ids, input_mask=tf.ones_like(ids), language_ids=language
        )["probabilities"]
        np.testing.assert_allclose(got[0], found[i], atol=1e-5)


@pytest.mark.whole_steps
def test_it_answers_in_a_language_that_it_was_not_trained_in(tmp_path):
    flags = [
        *tiny_squad.write(tmp_path),
        f"--output_dir={tmp_path}/out",
        *tiny_xlm.model_flags(tmp_path),
        "--doc_stride=6",
        "--max_query_length=6",
        "--do_predict",
    ]
    scripts.run("run_squad", *flags, "--num_train_epochs=12", "--do_train")
    answers = json.loads((tmp_path / "out/predictions.json").read_text())
    assert list(answers.values()).count("good") > 0.8 * len(answers)
    used = [f for f in flags if not f.startswith("--train_file")]
    scripts.run("run_squad", *used, "--language=de", "--do_eval")
    assert tiny.read_results(tmp_path / "out/eval_results.txt")["f1"] > 80


@pytest.mark.whole_steps
def test_it_tags_here_and_from_its_export(tmp_path):
    kept = ("--train_f", "--dev", "--test", "--output", "--tag")
    flags = tiny_tagging.flags(tmp_path, tmp_path / "out")
    scripts.run(
        "run_tagger",
        *(flag for flag in flags if flag.startswith(kept)),
        *tiny_xlm.model_flags(tmp_path),
        "--language=en",
        "--num_train_epochs=12",
        "--do_train",
        "--do_eval",
        "--do_predict",
    )
    assert tiny.read_results(tmp_path / "out/eval_results.txt")["eval_f1"] > 0.75
    scripts.run(
        "export_saved_model",
        f"--model_dir={tmp_path}/out",
        f"--export_dir={tmp_path}/export",
    )
    sentences = [words for words, _ in tiny_tagging.sentences(9, 2)]
    tags = serving.load(f"{tmp_path}/export").predict(sentences)["tags"]
    lines = (tmp_path / "out/test_predictions.txt").read_text().splitlines()
    assert sum(tags, []) == [line.split()[-1] for line in lines if line]


def test_vectors_of_lines_depend_on_the_language(classified, tmp_path):
    (tmp_path / "lines.txt").write_text("word1 good\nbad\n")
    found = {}
    for name in ("de", "en"):
        scripts.run(
            "extract_features",
            f"--input_file={tmp_path}/lines.txt",
            f"--output_file={tmp_path}/{name}.npy",
            f"--init_checkpoint={classified}/out",
            f"--language={name}",
            "--pooling=cls",
            "--max_seq_length=9",
        )
        found[name] = np.load(tmp_path / f"{name}.npy").reshape(2, -1)
    assert found["de"].shape == (2, 15)
    assert np.abs(found["de"] - found["en"]).max() > 1e-4


def test_another_system_refuses_a_language(tmp_path):
    vocab, config = tiny.write_model(tmp_path)
    with pytest.raises(UserError, match="--language=de is not for bert, only for xlm"):
        scripts.run(
            "run_tagger",
            *tiny_tagging.flags(tmp_path, tmp_path / "out"),
            "--language=de",
            "--do_train",
        )


def test_the_words_of_a_model_are_written_as_vectors(classified, tmp_path):
    scripts.run(
        "convert_checkpoint",
        f"--input_checkpoint={classified}/out",
        f"--output_path={tmp_path}/words.txt",
        "--output_format=word2vec",
        "--table=xlm/embeddings/word_embeddings",
    )
    words, table = word_vectors.read(f"{tmp_path}/words.txt")
    assert list(words[14:16]) == ["good", "bad"]
    assert table.shape == (tiny_xlm.CONFIG.n_words, 15)
