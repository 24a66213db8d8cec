"""word2vec's engines: what an update is, how a run goes on, where it begins."""

import pathlib
import signal
import sys

import forks
import numpy as np
import pytest
import scripts

from checkpoints import word_vectors
from data_pipeline.corpora import word_corpus, word_splitter
from data_pipeline.corpora.word_corpus import Block
from errors import UserError
from modeling import word2vec as model
from training import state
from training.word_vectors import compiled, word2vec
from training.word_vectors.learner import RunConfig
from training.word_vectors.steps import Step

pytestmark = pytest.mark.long

CORPUS = pathlib.Path(__file__).parent / "golden/word2vec/tiny_corpus.txt"
ROOT = pathlib.Path(__file__).parent.parent
ENGINES = (
    pytest.param(
        "numba",
        marks=pytest.mark.skipif(compiled.numba is None, reason="no numba"),
    ),
    "tensorflow",
)
METHODS = {
    "sg-ns": {"cbow": 0, "hs": 0, "negative": 3},
    "cbow-ns": {"cbow": 1, "hs": 0, "negative": 3},
    "sg-hs": {"cbow": 0, "hs": 1, "negative": 0},
    "cbow-hs": {"cbow": 1, "hs": 1, "negative": 0},
    "sg-both": {"cbow": 0, "hs": 1, "negative": 3},
    "cbow-both": {"cbow": 1, "hs": 1, "negative": 3},
}
SMALL = {"vector_size": 6, "window": 3, "sample": 0.01, "iter": 2, "min_count": 3}
NOTHING = np.zeros(0, bool)
# All noise is word 1, which is no noise for itself.
COUNTS = np.array([1, 10**15, 1, 1])
SENTENCES = [[1, 2, 3, 2], [3, 1]]


def make_engine(counts, run=None, frozen=NOTHING, **flags):
    learner = word2vec.Word2vec(**SMALL | flags)
    run = run or RunConfig("", seed=5)
    return learner.engine_class()(learner, counts, run, frozen)


def random_tables(engine, scale=1.0):
    """Sets the tables to random values; returns them in float64."""
    random = np.random.default_rng(4)
    found = []
    for name in (model.INPUTS, model.OUTPUTS):
        variable = engine.variables[name]
        table = random.normal(0, scale, tuple(variable.shape)).astype(np.float32)
        variable.assign(table)
        found.append(table.astype(np.float64))
    return found


def tables_of(engine):
    return [
        np.array(engine.variables[name].numpy())
        for name in (model.INPUTS, model.OUTPUTS)
    ]


def make_block(sentences):
    ids = np.concatenate(sentences).astype(np.int32)
    return Block(ids, np.cumsum([0, *map(len, sentences)]))


def targets_of(word, method, first_node):
    """The rows that predict a word, and what their logits should say."""
    found = []
    if method["negative"]:
        found.append((word, 1))
        found += [(1, 0)] * method["negative"] * (word != 1)
    if method["hs"]:
        code = model.huffman_code(COUNTS)
        way = slice(code.starts[word], code.starts[word + 1])
        for node, bit in zip(code.nodes[way], code.codes[way], strict=True):
            found.append((first_node + node, 1 - bit))
    return found


def examples(method, first_node):
    """Yields what predicts, and the rows that it predicts by: a window of 1."""
    for sentence in SENTENCES:
        for i, word in enumerate(sentence):
            around = sentence[max(0, i - 1) : i] + sentence[i + 1 : i + 2]
            rows = targets_of(word, method, first_node)
            for group in [around] if method["cbow"] else [[other] for other in around]:
                yield group, rows


def steps_of(inputs, outputs, group, rows):
    """The negative gradients of - log p, as the original has them, and the loss."""
    hidden = inputs[group].mean(0)
    error, changes, loss = np.zeros_like(hidden), np.zeros_like(outputs), 0.0
    for row, label in rows:
        p = 1 / (1 + np.exp(-hidden @ outputs[row]))
        error += (label - p) * outputs[row]
        changes[row] += (label - p) * hidden
        loss -= np.log(p if label else 1 - p)
    return error, changes, loss


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", METHODS)
def test_a_small_step_follows_the_gradient(engine, name):
    method = METHODS[name]
    flags = {"engine": engine, "alpha": 1e-3, "window": 1, "sample": 0.0}
    found = make_engine(COUNTS, **flags, **method)
    inputs, outputs = random_tables(found)
    first_node = len(COUNTS) * (method["negative"] > 0)
    gradients = np.zeros_like(inputs), np.zeros_like(outputs)
    losses = []
    for group, rows in examples(method, first_node):
        error, changes, loss = steps_of(inputs, outputs, group, rows)
        np.add.at(gradients[0], group, error)
        gradients[1][...] += changes
        losses.append(loss)
    told = found.train(make_block(SENTENCES), Step(0, 0.0, 0.0, True))
    for old, new, gradient in zip(
        (inputs, outputs), tables_of(found), gradients, strict=True
    ):
        scale = np.abs(gradient).max()
        np.testing.assert_allclose((new - old) / 1e-3, gradient, atol=0.02 * scale)
    assert told["loss"] == pytest.approx(np.mean(losses), rel=0.02)
    assert told["alpha"] == pytest.approx(1e-3)


@pytest.mark.parametrize("engine", ENGINES[:1])
@pytest.mark.parametrize("name", METHODS)
def test_steps_are_made_one_after_the_other(engine, name):
    method, rate = METHODS[name], 0.3
    flags = {"engine": engine, "alpha": rate, "window": 1, "sample": 0.0}
    found = make_engine(COUNTS, **flags, **method)
    inputs, outputs = random_tables(found)
    # Of a row that is there several times, the second step is from the first one's end.
    for group, rows in examples(method, len(COUNTS) * (method["negative"] > 0)):
        hidden = inputs[group].mean(0)
        logits = outputs[[row for row, _ in rows]] @ hidden
        error = np.zeros_like(hidden)
        for (row, label), logit in zip(rows, logits, strict=True):
            gradient = rate * (label - 1 / (1 + np.exp(-logit)))
            error += gradient * outputs[row]
            outputs[row] += gradient * hidden
        np.add.at(inputs, group, error)
    found.train(make_block(SENTENCES), Step(0, 0.0, 0.0, True))
    for expected, table in zip((inputs, outputs), tables_of(found), strict=True):
        np.testing.assert_allclose(table, expected, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_noise_is_drawn_as_often_as_its_share(engine):
    counts = np.array([3, 900, 500, 60, 20, 7, 2])
    flags = {"engine": engine, "cbow": 0, "negative": 3, "alpha": 1e-7, "sample": 0.0}
    found = make_engine(counts, **flags)
    _, outputs = random_tables(found, 0.0)
    inputs = found.variables[model.INPUTS]
    inputs.assign(np.ones(tuple(inputs.shape), np.float32))
    for number in range(9):
        block = make_block([[6, 6, 6, 6, 6, 6]] * 600)
        found.train(block, Step(number, 0.0, 0.0, False))
        inputs.assign(np.ones(tuple(inputs.shape), np.float32))
    moved = -tables_of(found)[1].mean(1)[1:6]
    weights = counts**0.75 + counts[0] ** 0.75 / 6
    np.testing.assert_allclose(
        moved / moved.sum(), weights[1:6] / weights[1:6].sum(), atol=0.03
    )


def make_blocks_small(monkeypatch):
    monkeypatch.setattr(word_corpus, "BLOCK_WORDS", 3000)
    monkeypatch.setattr(word_corpus, "_PORTION_BYTES", 1 << 14)


def read_corpus(folder, monkeypatch, learner):
    """Reads the small corpus in several blocks; returns it and its vocabulary."""
    make_blocks_small(monkeypatch)
    text = folder / "text"
    text.mkdir(parents=True, exist_ok=True)
    for left in text.iterdir():
        left.unlink()
    corpus = word_corpus.read([str(CORPUS)], word_splitter.WordSplitter(), str(text))
    return corpus, learner.vocabulary(corpus.counts, corpus.num_lines)


def learn(folder, monkeypatch, threads=1, seed=5, **flags):
    """Learns from the small corpus; returns words and vectors."""
    learner = word2vec.Word2vec(**SMALL | {"vectors": "both"} | flags)
    learner.check_files()
    corpus, counts = read_corpus(folder, monkeypatch, learner)
    assert corpus.num_blocks > 1
    output = str(folder / "output")
    run = RunConfig(output, seed=seed, threads=threads, save_checkpoints_secs=0)
    settings = learner.settings(corpus, counts, run)
    state.check_settings(run.output_dir, settings)
    return learner.learn(corpus, counts, run, settings)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, table in found.items():
        assert table.words == expected[name].words
        np.testing.assert_array_equal(table.vectors, expected[name].vectors)


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        *((*ENGINES[0].values, name) for name in METHODS if compiled.numba),
        ("tensorflow", "sg-ns"),
        ("tensorflow", "cbow-hs"),
        *(
            pytest.param("tensorflow", name, marks=pytest.mark.slow)
            for name in METHODS
            if name not in ("sg-ns", "cbow-hs")
        ),
    ],
)
def test_the_loss_falls(tmp_path, monkeypatch, engine, name):
    losses = []
    steps = word2vec.Training.steps

    def told(self, first):
        for scalars in steps(self, first):
            losses.append(scalars["loss"])
            yield scalars

    monkeypatch.setattr(word2vec.Training, "steps", told)
    flags = {"engine": engine, "vectors": "input", "sample": 0.0} | METHODS[name]
    learn(tmp_path / "still", monkeypatch, iter=1, alpha=1e-9, **flags)
    untrained, blocks = np.mean(losses), len(losses)
    learn(tmp_path, monkeypatch, iter=4, alpha=0.1, **flags)
    # Over so few words, the tree learns less than words of the noise teach.
    most = {"ns": 0.8, "both": 0.92, "hs": 0.97}[name.split("-")[1]]
    assert np.mean(losses[-blocks:]) < most * untrained


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["sg-ns", "cbow-both"])
def test_bytes_do_not_depend_on_the_number_of_threads(
    tmp_path, monkeypatch, engine, name
):
    flags = {"engine": engine, **METHODS[name]}
    one = learn(tmp_path / "1", monkeypatch, **flags)
    for threads in (2, 3):
        other = learn(tmp_path / str(threads), monkeypatch, threads, **flags)
        assert_same(other, one)
    different = learn(tmp_path / "seed", monkeypatch, seed=6, **flags)
    assert not np.array_equal(different["vectors"].vectors, one["vectors"].vectors)


@pytest.mark.parametrize("failing", [0, 1])
def test_a_thread_that_fails_does_not_make_others_wait(failing):
    pytest.importorskip("numba")
    run = RunConfig("", seed=5, threads=2)
    found = make_engine(COUNTS, run, engine="numba", **METHODS["cbow-both"])
    train, number = found._train_block, iter(range(2))

    def fail(*parts):
        if next(number) == failing:
            raise MemoryError("no room")
        train(*parts)

    found._train_block = fail
    with pytest.raises(MemoryError, match="no room"):
        found.train(make_block(SENTENCES * 999), Step(0, 0.0, 0.0, True))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stopped_run_goes_on_to_the_same_end(tmp_path, monkeypatch, engine):
    whole = learn(tmp_path / "whole", monkeypatch, engine=engine)
    steps = word2vec.Training.steps

    def stopped(self, first):
        for number, scalars in enumerate(steps(self, first)):
            if number == 3:
                raise KeyboardInterrupt
            yield scalars

    monkeypatch.setattr(word2vec.Training, "steps", stopped)
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path, monkeypatch, engine=engine)
    monkeypatch.setattr(word2vec.Training, "steps", steps)
    monkeypatch.setattr(word2vec.Training, "initialize", None)  # it goes on
    assert_same(learn(tmp_path, monkeypatch, engine=engine), whole)
    with pytest.raises(UserError, match="another training"):
        learn(tmp_path, monkeypatch, engine=engine, window=2)


KILLED = """
import os, signal
from data_pipeline.corpora import word_corpus
from training import state

word_corpus.BLOCK_WORDS, word_corpus._PORTION_BYTES = 3000, 1 << 14
saved = 0

def save(*args, old=state.save, **kwargs):
    global saved
    old(*args, **kwargs)
    saved += 1
    if saved == 2:
        os.kill(os.getpid(), signal.SIGKILL)

state.save = save
"""


def command(folder, *flags):
    small = [f"--{name}={value}" for name, value in SMALL.items()]
    return ["--model_type=word2vec", f"--train_file={CORPUS}", *small, *flags] + [
        f"--output_dir={folder}/output",
        "--save_checkpoints_secs=0",
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_run_goes_on_to_the_same_end(tmp_path, monkeypatch, engine):
    make_blocks_small(monkeypatch)
    flag = f"--engine={engine}"
    scripts.run("run_word_vectors", *command(tmp_path / "whole", flag))
    words = command(tmp_path, flag)
    script = [sys.executable, ROOT / "run_word_vectors.py", *words]
    done = forks.run(script, before=KILLED)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert not (tmp_path / "output/vectors.txt").exists()
    scripts.run("run_word_vectors", *words)
    found, whole = (
        path / "output/vectors.txt" for path in (tmp_path, tmp_path / "whole")
    )
    assert found.read_bytes() == whole.read_bytes()


def test_a_command_for_another_training_leaves_the_vocabulary(tmp_path):
    words = command(tmp_path, "--engine=tensorflow", "--iter=1")
    scripts.run("run_word_vectors", *words)
    vocabulary = (tmp_path / "output/vocab.txt").read_bytes()
    with pytest.raises(UserError, match="another training"):
        scripts.run("run_word_vectors", *words, "--min_count=20")
    assert (tmp_path / "output/vocab.txt").read_bytes() == vocabulary
    own = f"--init_vectors={tmp_path}/output/vectors.txt"
    with pytest.raises(UserError, match="vectors.txt is read as --init_vectors"):
        scripts.run("run_word_vectors", *words, own)


@pytest.mark.parametrize("flag", ["train_file", "read_vocab", "save_vocab"])
def test_a_folder_where_a_file_is_wanted_is_refused_by_its_flag(tmp_path, flag):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"--{flag}: .*folder is a folder; wanted a f"):
        scripts.run(
            "run_word_vectors", *command(tmp_path), f"--{flag}={tmp_path}/folder"
        )
    assert not (tmp_path / "output").exists()


def test_racing_threads_learn_too(tmp_path, monkeypatch):
    pytest.importorskip("numba")
    flags = {"engine": "numba", "iter": 4, "alpha": 0.1}
    one, two = (
        learn(tmp_path / str(threads), monkeypatch, threads, hogwild=True, **flags)
        for threads in (1, 2)
    )
    again = learn(tmp_path / "again", monkeypatch, hogwild=True, **flags)
    assert_same(again, one)
    for found in (one, two):
        table = found["vectors"].vectors
        assert np.isfinite(table).all()
        assert np.abs(table).mean() > 2 * 0.25 / SMALL["vector_size"]


@pytest.fixture
def known(tmp_path):
    """A file of vectors: of two words of the corpus, and one that is not in it."""
    words = ["the", "of", "no-such-word"]
    vectors = np.arange(18, dtype=np.float32).reshape(3, 6) / 50
    path = str(tmp_path / "known.txt")
    word_vectors.write(path, word_vectors.WordVectors(words, vectors))
    return path


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["sg-ns", "cbow-hs"])
def test_vectors_of_a_file_are_begun_with_and_may_stay(
    tmp_path, monkeypatch, known, engine, name
):
    flags = {"engine": engine, "init_vectors": known, **METHODS[name]}
    flags |= {"vectors": "input", "alpha": 1e-3}
    given = word_vectors.read(known)
    begun, frozen = (
        learn(tmp_path / str(freeze), monkeypatch, freeze_known=freeze, **flags)
        for freeze in (False, True)
    )
    plain = learn(tmp_path, monkeypatch, **flags | {"init_vectors": None})
    vectors = begun["vectors"].vectors, frozen["vectors"].vectors
    for word, vector in zip(given.words[:2], given.vectors, strict=False):
        row = begun["vectors"].words.index(word)
        np.testing.assert_array_equal(vectors[1][row], vector)
        moved = np.abs(vectors[0][row] - vector).max()
        assert 0 < moved < np.abs(plain["vectors"].vectors[row] - vector).max()
    others = [word not in given.words for word in begun["vectors"].words]
    assert not np.array_equal(vectors[1][others], plain["vectors"].vectors[others])


def test_vectors_of_another_width_or_language_are_refused(tmp_path, known):
    where = f"--output_dir={tmp_path}/output", f"--init_vectors={known}"
    match = "vectors of 6 numbers, wanted --vector_size=7"
    missing = f"--train_file={tmp_path}/none"
    (tmp_path / "none").write_text("not read\n")
    with pytest.raises(UserError, match=match):
        scripts.run("run_word_vectors", missing, "--size=7", *where)
    assert not (tmp_path / "output").exists()
    (tmp_path / "text").write_text("alpha beta\n" * 9)
    with pytest.raises(UserError, match="none of the 3 words"):
        scripts.run(
            "run_word_vectors", f"--train_file={tmp_path}/text", "--size=6", *where
        )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--exact", "--engine=numba"], "--exact with --engine=numba"),
        (["--exact", "--init_vectors=x"], "--exact with --init_vectors"),
        (["--exact", "--hogwild"], "--hogwild is for --engine=numba"),
        (["--engine=tensorflow", "--hogwild"], "--hogwild is for --engine=numba"),
        (["--distribution_strategy=mirrored", "--engine=numba"], "for --engine=tensor"),
        (["--freeze_known"], "--freeze_known without --init_vectors"),
        (["--hs=0", "--negative=0"], "--hs=0 and --negative=0"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(tmp_path, flags, message):
    with pytest.raises(UserError, match=message):
        scripts.run("run_word_vectors", *command(tmp_path, *flags))


def test_without_numba_it_is_asked_for_by_name(monkeypatch):
    monkeypatch.setattr(compiled, "numba", None)
    assert word2vec.Word2vec().engine == "tensorflow"
    with pytest.raises(UserError, match="--engine=numba needs the package numba"):
        list(word2vec.Word2vec(engine="numba").problems())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, monkeypatch, engine):
    with pytest.raises(FloatingPointError, match="try a smaller learning rate"):
        learn(tmp_path, monkeypatch, engine=engine, alpha=1e6)
