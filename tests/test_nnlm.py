"""NNLM against its paper's formulas, and through the scripts."""

import json

import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny_elmo

import modeling
from errors import UserError
from metrics.ngram import KneserNey
from modeling.nnlm import NnlmConfig, NnlmModel

pytestmark = pytest.mark.long

IDS = np.array([[0, 4, 5, 6, 7, 1], [0, 3, 3, 1, 0, 0]], np.int32)
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]], np.int32)
SIZES = {"vocab_size": 9, "order": 4, "embedding_size": 5}
CASES = [
    {"hidden_size": 6},
    {"hidden_size": 6, "direct_connections": True},
    {"hidden_size": 0, "direct_connections": True},
]


def log_probabilities(weights, context, config):
    """Equation 1 of the paper: log p of all words after n - 1 words, in float64."""
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    x = w["nnlm/C"][context].reshape(-1)
    size = config.hidden_size
    y = w["nnlm/softmax/b"].copy()
    if size:
        u = w["nnlm/softmax/W"][:, :size]
        y += u @ np.tanh(w["nnlm/d"] + x @ w["nnlm/H"])
    if config.direct_connections:
        y += w["nnlm/softmax/W"][:, size:] @ x
    return y - np.log(np.exp(y).sum())


@pytest.mark.parametrize("case", CASES)
def test_losses_are_those_of_the_papers_formula(case):
    config = NnlmConfig(**SIZES, **case)
    model = NnlmModel(config, seed=3)
    weights = modeling.named_variables(model)
    for variable in weights.values():  # biases, too
        variable.assign(tf.random.stateless_normal(variable.shape, [1, 2]))
    losses = model(IDS, MASK)["lm_losses"].numpy()
    assert losses.shape == (2, 5)
    for row, (ids, mask) in enumerate(zip(IDS, MASK, strict=True)):
        for place in range(1, 6):
            if not mask[place]:
                assert losses[row, place - 1] == 0
                continue
            before = [0, 0, *ids[:place]][-3:]  # <S> stands before the first word
            wanted = -log_probabilities(weights, before, config)[ids[place]]
            assert losses[row, place - 1] == pytest.approx(wanted, rel=1e-5)


def test_a_sampled_softmax_draws_by_its_seed():
    config = NnlmConfig(**SIZES, sample_softmax=True, n_negative_samples_batch=4)
    model = NnlmModel(config)
    one, again, other = (
        model(IDS, MASK, dropout_seed=tf.constant([7, seed]))["lm_losses"].numpy()
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"order": 1}, "order is 1, wanted 2 or more"),
        ({"hidden_size": 0}, "hidden_size is 0, which needs direct_connections"),
        ({"vocab_size": 9, "sample_softmax": True}, "n_negative_samples_batch is 1024"),
        ({"direct_connections": 1}, "direct_connections is 1, wanted a bool"),
        ({"ordre": 3}, r"unknown key\(s\) ordre"),
        ({"model_type": "bert"}, "model_type is 'bert', wanted 'nnlm'"),
    ],
)
def test_impossible_architectures_are_refused(values, message):
    with pytest.raises(UserError, match=f"there: .*{message}|there: {message}"):
        NnlmConfig.from_dict({"model_type": "nnlm"} | values, "there")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder that the scripts' commands made: text, vocabulary, records, model."""
    folder = tmp_path_factory.mktemp("nnlm")
    for name, number, seed in (("train", 400, 0), ("dev", 40, 1)):
        lines = tiny_elmo.sentences(number, seed)
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    scripts.run(
        "create_vocab",
        "--model_type=nnlm",
        f"--input_file={folder}/train.txt",
        f"--output_file={folder}/vocab.txt",
        "--min_frequency=2",
    )
    for name in ("train", "dev"):
        scripts.run(
            "create_pretraining_data",
            "--model_type=nnlm",
            f"--vocab_file={folder}/vocab.txt",
            f"--input_file={folder}/{name}.txt",
            f"--output_file={folder}/{name}.tfrecord",
            "--max_seq_length=11",
            "--num_workers=1",
        )
    config = {"model_type": "nnlm", "order": 3, "embedding_size": 8, "hidden_size": 16}
    (folder / "nnlm.json").write_text(json.dumps(config))
    scripts.run(
        "run_pretraining",
        f"--bert_config_file={folder}/nnlm.json",
        f"--vocab_file={folder}/vocab.txt",
        f"--input_file={folder}/train.tfrecord",
        f"--eval_input_file={folder}/dev.tfrecord",
        f"--output_dir={folder}/out",
        "--do_train",
        "--do_eval",
        "--ngram_baseline=2",
        "--max_seq_length=11",
        "--train_batch_size=32",
        "--num_train_steps=150",
        "--num_warmup_steps=0",
        "--learning_rate=1e-2",
        "--eval_steps=0",
    )
    return folder


def results(folder):
    lines = (folder / "out" / "eval_results.txt").read_text().splitlines()
    return {name: float(value) for name, value in (x.split(" = ") for x in lines)}


def test_it_learns_and_the_mixture_is_that_of_both_models(trained):
    scores = results(trained)
    words = (trained / "vocab.txt").read_text().split()
    assert scores["perplexity"] < 2.5 < len(words)

    def ids(name):
        lines = (trained / f"{name}.txt").read_text().splitlines()
        rows = [["<S>", *line.split(), "</S>"] for line in lines]
        known = {word: i for i, word in enumerate(words)}
        flat = [known.get(word, known["<UNK>"]) for row in rows for word in row]
        return np.array(flat), np.array([len(row) for row in rows])

    ngrams = KneserNey(*ids("train"), len(words), 2).probabilities(*ids("dev"))
    perplexity = np.exp(-np.log(ngrams).mean())
    assert scores["ngram_perplexity"] == pytest.approx(perplexity, rel=1e-6)
    config = NnlmConfig.from_json_file(str(trained / "out" / "nnlm_config.json"))
    assert config.vocab_size == len(words)
    reader = tf.train.load_checkpoint(str(trained / "out"))
    names = ["nnlm/C", "nnlm/H", "nnlm/d", "nnlm/softmax/W", "nnlm/softmax/b"]
    weights = {name: reader.get_tensor(name) for name in names}
    flat, lengths = ids("dev")
    own = []
    for row in np.split(flat, np.cumsum(lengths)[:-1]):
        for place in range(1, len(row)):
            context = [row[max(place - 2, 0)], row[place - 1]]
            own.append(log_probabilities(weights, context, config)[row[place]])
    mixed = np.exp(-np.log((np.exp(own) + ngrams) / 2).mean())
    assert scores["mixture_perplexity"] == pytest.approx(mixed, rel=1e-5)


def test_the_folder_stands_alone_and_is_no_encoder(trained):
    before = results(trained)
    scripts.run(
        "run_pretraining",
        f"--input_file={trained}/dev.tfrecord",
        f"--output_dir={trained}/out",
        "--do_eval",
        "--max_seq_length=11",
    )
    assert results(trained)["perplexity"] == pytest.approx(before["perplexity"])
    with pytest.raises(UserError, match="nnlm does not classify: run_classifier.py"):
        scripts.run(
            "run_classifier",
            "--task_name=cola",
            f"--data_dir={trained}",
            f"--init_checkpoint={trained}/out",
            f"--output_dir={trained}/other",
            "--do_train",
        )
