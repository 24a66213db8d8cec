"""GloVe learns what the original program learns, on both engines."""

import pathlib
import re
import signal
import sys

import forks
import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny

from checkpoints import word_vectors
from checkpoints.word_vectors import WordVectors
from data_pipeline.corpora import cooccurrences, word_corpus, word_splitter
from errors import UserError
from modeling import glove as model
from training import state
from training.word_vectors import glove, glove_exact, glove_tensorflow, loop
from training.word_vectors.compiled import numba
from training.word_vectors.learner import RunConfig

pytestmark = pytest.mark.long

GOLDEN = pathlib.Path(__file__).parent / "golden/glove"
ENGINES = (
    pytest.param("numba", marks=pytest.mark.skipif(numba is None, reason="no numba")),
    "tensorflow",
)
COSTS = [0.21421395339110913, 0.13724887467717495, 0.1316932488875957]
COSTS.append(0.12868895906681946)
CHAIN = {"min_count": 30, "window": 5, "vector_size": 4, "x_max": 10, "iter": 3}

# Makes a process die in the sixth round, after five checkpoints.
KILLED = """
import os, signal
from training.word_vectors import glove

rounds = 0

def read(*args, old=glove.Training._read):
    global rounds
    rounds += 1
    if rounds == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return old(*args)

glove.Training._read = read
"""


def golden_records():
    """The golden's pairs, in the order in which they are trained."""
    arrays = np.load(GOLDEN / "training.npz")
    records = np.empty(len(arrays["value"]), cooccurrences.RECORD)
    for name in records.dtype.names:
        records[name] = arrays[name]
    return records


def more_records(name="cooccur_w10_sym_dist", times=2):
    """More pairs than are trained in their own order, shuffled."""
    arrays = np.load(GOLDEN / f"{name}.npz")
    records = np.empty(len(arrays["value"]), cooccurrences.RECORD)
    for column in records.dtype.names:
        records[column] = arrays[column]
    return np.random.default_rng(3).permutation(np.concatenate([records] * times))


def training(folder, records, vocab_size, start=None, threads=1, seed=11, **flags):
    path = folder / "shuffled.bin"
    records.tofile(path)
    run = RunConfig(str(folder / "output"), seed=seed, threads=threads)
    made = glove.Training(glove.Glove(**flags), str(path), vocab_size, run)
    if start is not None:
        for name, table in zip(("words", "contexts"), start, strict=True):
            made.variables[f"glove/{name}"].assign(table)
    return made


def trained(*args, **kwargs):
    """Returns a training whose steps are all made."""
    with training(*args, **kwargs) as made:
        for _ in made.steps(0):
            pass
        return made


def learn(folder, output="output", seed=5, **flags):
    """Counts the golden's corpus and learns; returns what is to be written."""
    learner = glove.Glove(**CHAIN | flags)
    text = folder / "text"
    text.mkdir(parents=True, exist_ok=True)
    for left in text.iterdir():
        left.unlink()
    files = [str(GOLDEN / "corpus.txt")]
    corpus = word_corpus.read(files, word_splitter.WordSplitter(), str(text))
    counts = learner.vocabulary(corpus.counts, corpus.num_lines)
    run = RunConfig(str(folder / output), seed=seed, save_checkpoints_secs=0)
    settings = learner.settings(corpus, counts, run)
    state.check_settings(run.output_dir, settings)
    return learner.learn(corpus, counts, run, settings)["vectors"]


def text_vectors(path):
    """The words and vectors of a text without a header."""
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    return [line[0] for line in lines], np.array([line[1:] for line in lines], float)


@pytest.mark.parametrize("engine", ENGINES)
def test_exact_training_is_the_originals(tmp_path, engine):
    golden = np.load(GOLDEN / "training.npz")
    flags = {"vector_size": 10, "x_max": 10, "engine": engine, "exact": True}
    one = trained(tmp_path, golden_records(), 87, iter=1, **flags)
    np.testing.assert_allclose(one.tables, golden["params_001"], atol=1e-9)
    four = trained(tmp_path, golden_records(), 87, iter=4, **flags)
    np.testing.assert_allclose(four.tables, golden["params_final"], atol=1e-9)
    squares = [
        four.variables[f"glove/{x}_squares"].numpy() for x in ("word", "context")
    ]
    np.testing.assert_allclose(squares, golden["gradsq_final"], atol=1e-9)
    np.testing.assert_allclose(four.costs, COSTS, rtol=1e-9)


def test_exact_initial_values_and_order_are_the_originals(tmp_path):
    golden = np.load(GOLDEN / "training.npz")
    found = glove_exact.initial_parameters(11, 87, 11)
    np.testing.assert_array_equal(found, golden["params_000"])
    records, source = golden_records(), tmp_path / "sorted.bin"
    ordered = records[np.lexsort((records["word2"], records["word1"]))]
    ordered["value"][0] /= 2  # which the original counts twice
    ordered.tofile(source)
    glove_exact.shuffle(str(source), str(tmp_path / "shuffled.bin"), 3, 4.0)
    found = np.fromfile(tmp_path / "shuffled.bin", cooccurrences.RECORD)
    np.testing.assert_array_equal(found, records)


def test_the_first_pair_counts_twice_only_where_all_fit_into_the_table(tmp_path):
    records = np.ones(9, cooccurrences.RECORD)
    records["word1"] = np.arange(9) * 1000 + 1
    found = []
    for memory in (1e-3, 4.0):
        records.tofile(tmp_path / "sorted.bin")
        paths = str(tmp_path / "sorted.bin"), str(tmp_path / "shuffled.bin")
        glove_exact.shuffle(*paths, 1, memory)
        shuffled = np.fromfile(paths[1], cooccurrences.RECORD)
        found.append(shuffled["value"][shuffled["word1"] == 1].tolist())
        assert shuffled["value"][shuffled["word1"] > 1].tolist() == [1.0] * 8
    assert found == [[1.0], [2.0]]


def test_written_vectors_are_the_originals():
    golden = np.load(GOLDEN / "training.npz")
    words = [line.split()[0] for line in (GOLDEN / "train_vocab.txt").open()]
    found = glove.Glove().vectors(words, *golden["params_final"])
    expected = (GOLDEN / "vectors_final.txt").read_text().splitlines()[1:]
    assert found.words == [line.split()[0] for line in expected]
    numbers = [line.split()[1:] for line in expected]
    assert [[f"{x:f}" for x in row] for row in found.vectors] == numbers


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_whole_chain_is_the_originals(tmp_path, number):
    found = learn(tmp_path, model=number, exact=True)
    words, vectors = text_vectors(GOLDEN / f"vectors_seed5_model{number}.txt")
    assert found.words == words
    np.testing.assert_allclose(found.vectors, vectors, atol=5.01e-7)


@pytest.mark.parametrize("engine", ENGINES)
def test_costs_are_those_of_the_original(tmp_path, engine):
    golden = np.load(GOLDEN / "training.npz")
    flags = {"vector_size": 10, "x_max": 10, "engine": engine, "iter": 4}
    start = golden["params_000"]
    found = trained(tmp_path, golden_records(), 87, start, **flags).costs
    np.testing.assert_allclose(found, COSTS, rtol=0.02)


@pytest.mark.parametrize("engine", ENGINES)
def test_costs_are_those_of_one_pair_after_the_other(tmp_path, engine):
    pytest.importorskip("numba")
    flags = {"vector_size": 20, "x_max": 10, "iter": 3}
    records = more_records()
    expected = trained(tmp_path, records, 642, engine="numba", exact=True, **flags)
    start = glove_exact.initial_parameters(11, 642, 21)
    found = trained(tmp_path, records, 642, start, engine=engine, **flags)
    assert found.costs.tolist() != expected.costs.tolist()
    np.testing.assert_allclose(found.costs, expected.costs, rtol=0.02)


@pytest.mark.parametrize("engine", ENGINES)
def test_bytes_do_not_depend_on_the_number_of_threads(tmp_path, engine):
    flags = {"vector_size": 20, "engine": engine, "iter": 1}
    found = [
        trained(tmp_path, more_records(), 642, threads=threads, **flags)
        for threads in (1, 2, 3)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.tables, found[0].tables)
        assert other.costs.tolist() == found[0].costs.tolist()
    different = trained(tmp_path, more_records(), 642, seed=12, **flags)
    assert not np.array_equal(different.tables, found[0].tables)


def test_counts_of_a_training_are_not_lost_to_another(tmp_path):
    learn(tmp_path, iter=1)
    counts = (tmp_path / "output" / "cooccurrences.bin").read_bytes()
    with pytest.raises(UserError, match="another training"):
        learn(tmp_path, iter=1, window=6)
    assert (tmp_path / "output" / "cooccurrences.bin").read_bytes() == counts


@pytest.fixture
def known(tmp_path):
    """A file of vectors: of two words of the corpus, and one that is not in it."""
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4) / 70
    found = WordVectors(["the", "of", "no-such-word"], vectors)
    word_vectors.write(str(tmp_path / "known.txt"), found)
    return str(tmp_path / "known.txt")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_vectors_of_a_file_are_begun_with_and_may_stay(tmp_path, known, engine, number):
    flags = {"engine": engine, "model": number, "init_vectors": known, "iter": 1}
    still = learn(tmp_path, "still", eta=1e-12, **flags)
    frozen = learn(tmp_path, "frozen", freeze_known=True, **flags)
    moved = learn(tmp_path, "moved", **flags)
    given = word_vectors.read(known)
    for word, vector in zip(given.words[:2], given.vectors, strict=False):
        row = moved.words.index(word)
        np.testing.assert_allclose(still.vectors[row, :4], vector, atol=1e-6)
        np.testing.assert_array_equal(frozen.vectors[row, :4], vector)
        assert np.abs(moved.vectors[row, :4] - vector).max() > 1e-3
    others = [row for row, word in enumerate(moved.words) if word not in given.words]
    gone = np.abs(frozen.vectors - still.vectors)[others].max(0)
    assert (gone > 1e-3).all()
    if number == 0:  # contexts of words that stay are trained
        assert np.abs(frozen.vectors - still.vectors)[row, -5:-1].max() > 1e-3


def test_what_is_written_of_vectors_of_a_file_is_what_was_trained(tmp_path, known):
    flags = {"init_vectors": known, "iter": 1}
    both, words = (learn(tmp_path, model=number, **flags) for number in (3, 1))
    np.testing.assert_array_equal(words.vectors, both.vectors[:, :4])
    with pytest.raises(UserError, match=r"shares: there \[1.0, 0.0\], now \[0.5, 0"):
        learn(tmp_path, model=2, **flags)


def made_model(vocab_size=5, vector_size=3):
    found = model.GloveModel(model.GloveConfig(vocab_size, vector_size, 4.0), seed=2)
    found.build()
    return found


def test_the_objective_is_the_papers():
    layer = made_model()
    word, context = tf.constant([1, 4]), tf.constant([1, 2])
    count = tf.constant([9.0, 2.0])
    w, c = layer.words.numpy(), layer.contexts.numpy()
    dots = [w[i, :3] @ c[j, :3] + w[i, 3] + c[j, 3] for i, j in ((1, 1), (4, 2))]
    np.testing.assert_allclose(layer(word, context), dots, rtol=1e-5)
    weights = 1.0, (2 / 4) ** 0.75
    errors = (dots - np.log([9.0, 2.0])) ** 2 / 2
    np.testing.assert_allclose(
        layer.costs(word, context, count), weights * errors, rtol=1e-5
    )
    assert np.abs(w).max() <= 0.5 / 3
    assert np.abs(w).max() > 0.5 / 4


@pytest.mark.parametrize("engine", ENGINES)
def test_an_update_follows_the_objectives_gradient(tmp_path, engine):
    records = np.array([(2, 5, 3.0)], cooccurrences.RECORD)
    flags = {"vector_size": 3, "x_max": 4.0, "eta": 0.5, "iter": 1, "engine": engine}
    with training(tmp_path, records, 5, **flags) as made:
        before = [table.copy() for table in made.tables]
        layer = made_model()
        layer.words.assign(before[0])
        layer.contexts.assign(before[1])
        with tf.GradientTape() as tape:
            cost = layer.costs(tf.constant([1]), tf.constant([4]), tf.constant([3.0]))
        gradients = [
            tf.convert_to_tensor(gradient).numpy()
            for gradient in tape.gradient(
                cost, [layer.words.value, layer.contexts.value]
            )
        ]
        for _ in made.steps(0):
            pass
        rates = np.array([0.5, 0.5, 0.5, 1.0])
        for old, new, gradient in zip(before, made.tables, gradients, strict=True):
            np.testing.assert_allclose(old - new, rates * gradient, atol=1e-6)


def test_a_model_is_made_again_from_its_config():
    layer = made_model()
    again = model.GloveModel.from_config(layer.get_config())
    again.build()
    assert again.config == layer.config
    np.testing.assert_array_equal(again.words, layer.words)
    with pytest.raises(UserError, match="x_max is 0"):
        model.GloveConfig(7, 3, 0)
    with pytest.raises(UserError, match=r"unknown key\(s\) size"):
        model.GloveConfig.from_dict({"vocab_size": 7, "size": 3})


def test_unknown_words_get_the_mean_of_the_rarest():
    rows = np.arange(2 * 150.0).reshape(150, 2)
    assert model.unknown_vector(rows).tolist() == rows[50:].mean(0).tolist()
    found = glove.Glove(model=1).vectors(["a", "<unk>"], rows[:2], rows[:2])
    assert found.words == ["a", "<unk>"]


def test_batches_are_small_where_words_are_few():
    learner = glove.Glove(vector_size=3)
    nothing = (np.zeros(0, bool),) * 2
    sizes = [
        glove_tensorflow.Engine(made_model(words), learner, 1, nothing).batch_size
        for words in (87, 3, 99_999)
    ]
    assert sizes == [8, 1, 1024]


def command(folder, *flags):
    flags = "--model_type=glove", "--iter=2", "--vector_size=6", *flags
    return [*flags, f"--output_dir={folder}/output"]


def run(folder, *flags):
    scripts.run("run_word_vectors", *command(folder, *flags))
    return (folder / "output/vectors.txt").read_bytes()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_run_goes_on_to_the_same_end(tmp_path, monkeypatch, engine):
    flags = [f"--train_file={GOLDEN}/corpus.txt", f"--engine={engine}"]
    flags += ["--min_count=2", "--save_checkpoints_secs=0"]
    whole = run(tmp_path / "whole", *flags)
    script = [sys.executable, tiny.ROOT / "run_word_vectors.py"]
    done = forks.run(script + command(tmp_path, *flags), before=KILLED)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert not (tmp_path / "output/vectors.txt").exists()
    assert list((tmp_path / "output").glob("model.ckpt-5.*"))
    monkeypatch.setattr(cooccurrences, "count", None)  # it was counted
    assert run(tmp_path, *flags) == whole
    assert not list((tmp_path / "output").glob("*.writing-*"))
    with pytest.raises(UserError, match="another training"):
        run(tmp_path, *flags, "--x_max=3")


def test_the_script_learns_from_a_text_and_from_its_counts(tmp_path, capsys):
    text = run(tmp_path / "a", f"--train_file={GOLDEN}/corpus.txt", "--min_count=9")
    assert "vocabulary = 232" in capsys.readouterr().out
    assert text.startswith(b"233 6\nthe ")
    given = (
        f"--cooccurrence_file={tmp_path}/a/output/cooccurrences.bin",
        f"--read_vocab={tmp_path}/a/output/vocab.txt",
    )
    assert run(tmp_path / "b", *given) == text


def test_counts_of_another_vocabulary_are_refused(tmp_path):
    run(tmp_path / "a", f"--train_file={GOLDEN}/corpus.txt", "--min_count=9")
    counts = tmp_path / "a/output/cooccurrences.bin"
    vocabulary = tmp_path / "vocab.txt"
    lines = (tmp_path / "a/output/vocab.txt").read_text().splitlines(keepends=True)
    vocabulary.write_text("".join([*lines[1:], lines[0]]))
    given = f"--cooccurrence_file={counts}", f"--read_vocab={vocabulary}"
    with pytest.raises(UserError, match="counted with another vocabulary than --read"):
        run(tmp_path / "b", *given)
    # The original's have nothing beside them.
    (tmp_path / "a/output/cooccurrences.bin.json").unlink()
    run(tmp_path / "c", *given)
    vocabulary.write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match=re.escape("the vocabulary has words 1 to 231")):
        run(tmp_path / "b", *given)
    counts.write_bytes(counts.read_bytes()[:-3])
    with pytest.raises(UserError, match="is the file cut short"):
        run(tmp_path / "b", *given)


def test_flags_that_do_not_go_together_are_refused(tmp_path):
    with pytest.raises(UserError, match="--cooccurrence_file without --read_vocab"):
        run(tmp_path, "--cooccurrence_file=x")
    with pytest.raises(UserError, match="--train_file is missing"):
        run(tmp_path)
    with pytest.raises(UserError, match="--negative=3 is not for glove"):
        run(tmp_path, "--train_file=x", "--negative=3")
    with pytest.raises(UserError, match="--exact with --init_vectors"):
        run(tmp_path, "--train_file=x", "--exact", "--init_vectors=x")
    with pytest.raises(UserError, match="--freeze_known without --init_vectors"):
        run(tmp_path, "--train_file=x", "--freeze_known")
    with pytest.raises(UserError, match="--init_vectors=x is not for svd, only for wo"):
        run(tmp_path, "--train_file=x", "--model_type=svd", "--init_vectors=x")
    with pytest.raises(UserError, match="wanted one of them"):
        run(tmp_path, "--train_file=x", "--cooccurrence_file=x", "--read_vocab=x")
    counted = "--cooccurrence_file=x", "--read_vocab=x"
    with pytest.raises(UserError, match="--min_count has no effect with --read_vocab"):
        run(tmp_path, *counted, "--min_count=2")
    with pytest.raises(UserError, match="--window has no effect with --cooccurrence_f"):
        run(tmp_path, *counted, "--window=2")
    with pytest.raises(UserError, match="--x_max=0: wanted a positive number"):
        run(tmp_path, *counted, "--x_max=0")
    with pytest.raises(UserError, match="--read_vocab: no file matches 'x'"):
        run(tmp_path, *counted)
    assert not (tmp_path / "output").exists()


def test_sizes_that_cannot_be_are_refused_before_pairs_are_counted(tmp_path):
    with pytest.raises(UserError, match="wanted at most 2,147,483,648"):
        run(tmp_path, f"--train_file={GOLDEN}/corpus.txt", "--vector_size=99999999")
    assert not (tmp_path / "output/cooccurrences.bin").exists()


def test_without_numba_it_is_asked_for_by_name(monkeypatch):
    monkeypatch.setattr(glove.compiled, "numba", None)
    assert glove.Glove().engine == "tensorflow"
    with pytest.raises(UserError, match="--engine=numba needs the package numba"):
        list(glove.Glove(engine="numba").problems())


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    flags = {"vector_size": 3, "eta": 1e30, "iter": 9, "engine": "tensorflow"}
    with (
        training(tmp_path, golden_records(), 87, **flags) as made,
        pytest.raises(FloatingPointError, match="try a smaller learning rate"),
    ):
        loop.train(made, RunConfig(str(tmp_path / "output")))
