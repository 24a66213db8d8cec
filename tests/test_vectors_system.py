"""Word vectors under the tasks: models by hand, what moves, folders, lines, exports."""

import dataclasses
import json

import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_tagging
import tiny_taglm
from sklearn.feature_extraction.text import TfidfVectorizer

import checkpoints
import modeling
from checkpoints import word_vectors
from checkpoints.word_vectors import WordVectors
from data_pipeline.features.elmo import classification_columns
from data_pipeline.readers.examples import InputExample
from errors import UserError
from inference import export
from modeling.vectors import VectorsClassifier, VectorsConfig, VectorsModel
from optimization.groups import assign_groups
from optimization.optimizers import OptimizerConfig
from systems import vectors
from systems.words import SpelledVocabulary

pytestmark = pytest.mark.long

# Two words of the text, two others; 1 to 3 are the marks and 0 pads.
SIZES = VectorsConfig(vocab_size=7, text_words=5, vector_size=6)
IDS = np.array([[1, 4, 3, 6, 7, 2], [1, 5, 2, 0, 0, 0], [1, 2, 0, 0, 0, 0]], np.int32)
WORDS = ["good", "word1", "bad", "The", "x0", "elsewhere", "<unk>"]


def classifier(seed=3, **changes):
    """A model whose variables are all random, and their values."""
    config = dataclasses.replace(SIZES, **changes)
    model = VectorsClassifier(config, 3, seed=seed)
    weights = modeling.named_variables(model)
    for i, variable in enumerate(weights.values()):
        draw = tf.random.stateless_normal(variable.shape, [seed, i])
        variable.assign(0.5 * draw)
    return model, {name: value.numpy() for name, value in weights.items()}


def rows_of(weights, words="words"):
    """The vectors of the words of IDS, of all tables one after the other."""
    tables = [weights[f"vectors/{name}"] for name in ("marks", words, "others")]
    table = np.concatenate(tables)
    return [[table[i - 1] for i in row[1:] if i > 2] for row in IDS]


def logits(weights, x):
    head = "classifier/output/output_"
    return x @ weights[f"{head}weights"].T + weights[f"{head}bias"]


def test_the_mean_is_that_of_the_words_vectors():
    model, weights = classifier()
    means = [np.mean(row or [np.zeros(6)], axis=0) for row in rows_of(weights)]
    found = model(IDS)["logits"].numpy()
    np.testing.assert_allclose(found, logits(weights, np.array(means)), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
def test_convolutions_are_kims(channels):
    model, weights = classifier(reader="cnn", channels=channels)
    texts = rows_of(weights)
    if channels == 2:
        frozen = rows_of(weights, "frozen_words")
        texts = [
            [np.concatenate(pair) for pair in zip(*both, strict=True)]
            for both in zip(texts, frozen, strict=True)
        ]
    found = []
    for row in texts:
        # Kim 2014, equations 1 to 3: c_i = f(w . x_i:i+h-1 + b), and their maximum.
        around = [np.zeros(6 * channels)] * 5
        x, features = np.array([*around, *row, *around]), []
        for i, width in enumerate((3, 4, 5)):
            w = weights[f"classifier/CNN/W_cnn_{i}"][0]
            b = weights[f"classifier/CNN/b_cnn_{i}"]
            assert w.shape == (width, 6 * channels, 100)
            windows = [x[k : k + width] for k in range(len(x) - width + 1)]
            c = [np.maximum(np.einsum("te,tef->f", x, w) + b, 0) for x in windows]
            features.append(np.max(c, axis=0))
        found.append(np.concatenate(features))
    wanted = logits(weights, np.array(found))
    np.testing.assert_allclose(model(IDS)["logits"], wanted, rtol=1e-4, atol=1e-4)


def lstm(x, kernel, bias):
    """Hochreiter and Schmidhuber's with a forget gate, as TensorFlow's LSTMCell."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    units = len(bias) // 4
    c, h, states = np.zeros(units), np.zeros(units), []
    for step in x:
        i, j, f, o = np.split(np.concatenate([step, h]) @ kernel + bias, 4)
        c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def test_the_lstms_highest_states_are_classified():
    model, weights = classifier(reader="lstm")
    found = []
    for row in rows_of(weights):
        sides = []
        for way, order in (("forward", 1), ("backward", -1)):
            scope = f"classifier/rnn/{way}/rnn/lstm_cell"
            steps = np.array(row)[::order] if row else np.zeros([0, 6])
            both = (weights[f"{scope}/{name}"] for name in ("kernel", "bias"))
            sides.append(lstm(steps, *both))
        found.append(
            np.concatenate([s.max(0) if len(s) else np.zeros(128) for s in sides])
        )
    wanted = logits(weights, np.array(found))
    np.testing.assert_allclose(model(IDS)["logits"], wanted, atol=1e-4)


@pytest.mark.parametrize("reader", ["mean", "cnn", "lstm"])
def test_padding_changes_nothing_and_dropout_is_by_its_seed(reader):
    model, _ = classifier(reader=reader)
    found = model(IDS)["logits"].numpy()
    wide = model(np.pad(IDS, [[0, 0], [0, 7]]))["logits"].numpy()
    np.testing.assert_allclose(wide, found, atol=1e-5)
    one, again, other = (
        model(IDS, dropout_seed=tf.constant([step, 7]))["logits"].numpy()
        for step in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert np.array_equal(one, other) == (reader == "mean")


def test_a_config_survives_its_file_and_refuses_what_cannot_be(tmp_path):
    path = tmp_path / "vectors_config.json"
    path.write_text(dataclasses.replace(SIZES, reader="cnn").to_json_string())
    known = VectorsConfig.from_json_file(str(path))
    assert known == dataclasses.replace(SIZES, reader="cnn")
    for change, message in (
        ({"width": 3}, "here: unknown key.* width"),
        ({"reader": "rnn"}, "here: reader is 'rnn', wanted mean or cnn or lstm"),
        ({"channels": 3}, "here: channels is 3, wanted 1 or 2"),
        ({"channels": 2, "reader": "lstm"}, "channels is 2, which reader cnn has, not"),
        ({"text_words": 8}, "text_words is 8, wanted 3 to vocab_size, 7"),
        ({"vector_size": 0}, "vector_size is 0, wanted a positive whole number"),
        ({"model_type": "nnlm"}, "model_type is 'nnlm', wanted 'vectors'"),
    ):
        with pytest.raises(UserError, match=message):
            VectorsConfig.from_dict(known.to_dict() | change, "here")


def test_words_are_found_as_they_are_in_lower_case_and_without_digits():
    entries = ["<S>", "</S>", "<UNK>", "The", "the", "a1", "b0", "ä0"]
    known = SpelledVocabulary(entries)
    asked = ["The", "THE", "a1", "a2", "b7", "B7", "Ä9", "the", "B0", "none", "</S>"]
    wanted = [3, 4, 5, 2, 6, 6, 7, 4, 6, 2, 1]
    assert known.ids(asked).tolist() == wanted
    in_graph = known.in_graph()(tf.constant(asked))
    assert in_graph.numpy().tolist() == wanted


def write(folder, words=WORDS, width=6):
    path = folder / "vectors.txt"
    return str(path), tiny_taglm.write_vectors(path, words, width)


def test_a_new_system_has_the_texts_words_first(tmp_path):
    path, _ = write(tmp_path)
    text = ["Bad", "the", "The", "bad", "x5", "x7", "x9", "never"]
    system = vectors.begin(None, text, word_vectors=path, reader="cnn")
    marks = ["<S>", "</S>", "<UNK>"]
    rest = ["good", "word1", "elsewhere", "<unk>"]
    # "the" has no vector: The is another word; x5, x7 and x9 are x0.
    assert list(system.words) == [*marks, "x0", "bad", "The", *rest]
    sizes = system.config
    assert (sizes.vocab_size, sizes.text_words, sizes.vector_size) == (10, 6, 6)
    few = vectors.begin(None, text, word_vectors=path, max_vocab=1)
    assert list(few.words) == [*marks, "x0", "bad", "The", "good"]
    random = vectors.begin(VectorsConfig(vector_size=4), ["A1", "a2", "b", "c", "C"])
    assert list(random.words) == [*marks, "a0", "c"]
    assert (random.config.text_words, random.config.vector_size) == (5, 4)


def test_vectors_begin_as_in_their_file_and_unknown_words_by_it(tmp_path):
    path, values = write(tmp_path)
    system = vectors.begin(None, ["good", "The"], word_vectors=path)
    model = system.build_encoder(seed=1)
    variables = modeling.named_variables(model)
    before = variables["vectors/marks"].numpy()
    system.initialize(variables, "classifier")
    rows = dict(zip(WORDS, values, strict=True))
    found = {name: value.numpy() for name, value in variables.items()}
    np.testing.assert_array_equal(found["vectors/words"], [rows["The"], rows["good"]])
    others = [rows[w] for w in ("word1", "bad", "x0", "elsewhere", "<unk>")]
    np.testing.assert_array_equal(found["vectors/others"], others)
    np.testing.assert_array_equal(found["vectors/marks"][2], rows["<unk>"])
    np.testing.assert_array_equal(found["vectors/marks"][:2], before[:2])


@pytest.mark.parametrize(
    ("channels", "rates"),
    [(1, {"words": 0.25}), (2, {"words": 0.25, "frozen_words": 0})],
)
def test_the_texts_words_have_a_rate_of_their_own(channels, rates):
    model, _ = classifier(reader="cnn", channels=channels)
    config = dataclasses.replace(SIZES, reader="cnn", channels=channels)
    system = vectors.VectorsSystem(config, words=())
    variables = modeling.named_variables(model)
    for finetunes in (True, False):
        options = OptimizerConfig(layer_decay=0.25, finetune_encoder=finetunes)
        groups = assign_groups(variables, system.parameter_groups(options))
        for name, group in groups.items():
            scope, _, table = name.partition("/")
            wanted = rates.get(table, 0) if scope == "vectors" else 1
            wanted = (
                1 if table == "marks" else wanted * (finetunes or scope != "vectors")
            )
            assert (group.lr_multiplier, group.trainable) == (wanted, wanted > 0), name


def test_vectors_of_any_format_are_recognised(tmp_path):
    rows = WordVectors(["a", "b", "c d"], np.arange(6, dtype=np.float32).reshape(3, 2))
    for form in ("word2vec", "glove", "fasttext", "npy", "projector", "glove_binary"):
        path = tmp_path / form
        if word_vectors.FORMATS[form].files:
            word_vectors.write(str(path), rows, form)
        else:
            path.mkdir()
            word_vectors.write(str(path / "vectors.txt"), rows, form)
            opened = checkpoints.open_checkpoint(str(path / "vectors.txt"))
            assert opened.format == "word_vectors"
        assert checkpoints.open_checkpoint(str(path)).config == VectorsConfig()
        found = vectors.begin(None, ["a"], word_vectors=str(path))
        assert list(found.words[3:]) == ["a", "b", "c d"]
    (tmp_path / "text.txt").write_text("no vectors\n")
    with pytest.raises(UserError, match=r"text.txt: got a file .*, word vectors"):
        checkpoints.open_checkpoint(str(tmp_path / "text.txt"))
    # As run_word_vectors.py leaves a folder: with the state of its training.
    state = tf.train.Checkpoint(step=tf.Variable(1))
    state.write(str(tmp_path / "word2vec" / "model.ckpt-1"))
    opened = checkpoints.open_checkpoint(str(tmp_path / "word2vec"))
    assert opened.format == "word_vectors"
    with pytest.raises(UserError, match="word vectors alone have no export"):
        export.export_model(str(tmp_path / "word2vec"), str(tmp_path / "saved"))


def classify(folder, output, *flags):
    kept = [
        flag
        for flag in tiny.classifier_command(folder, output, *flags)[2:]
        if not flag.startswith(("--vocab_file", "--bert_config_file"))
    ]
    scripts.run("run_classifier", *kept)


def tables(folder):
    """The variables of the newest checkpoint in a folder."""
    reader = tf.train.load_checkpoint(str(folder))
    names = reader.get_variable_to_shape_map()
    return {n: reader.get_tensor(n) for n in names if n.startswith("vectors/")}


TRAIN = ("--do_train", "--learning_rate=3e-2", "--optimizer=adamw", "--eval_steps=0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders of a classifier with a table that moved, and with one that did not."""
    folder = tmp_path_factory.mktemp("vectors")
    path, values = write(folder)
    steps = (*TRAIN, "--do_eval", "--do_predict", f"--init_checkpoint={path}")
    for name, kind in (
        ("tuned", ("--reader=cnn", "--num_train_epochs=4")),
        ("frozen", ("--finetune_encoder=false", "--num_train_epochs=2")),
    ):
        classify(folder, folder / name, *steps, *kind)
    return folder, dict(zip(WORDS, values, strict=True))


def test_it_learns_and_moves_what_it_should(trained):
    folder, rows = trained
    tuned, frozen = tables(folder / "tuned"), tables(folder / "frozen")
    results = tiny.read_results(folder / "tuned" / "eval_results.txt")
    assert results["eval_accuracy"] > 0.9
    words = (folder / "tuned" / "vocab.txt").read_text().split("\n")[3:6]
    assert sorted(words) == ["bad", "good", "word1"]
    start = np.array([rows[word] for word in words])
    others = [rows[w] for w in ("The", "x0", "elsewhere", "<unk>")]
    for name, found in (("tuned", tuned), ("frozen", frozen)):
        moved = np.abs(found["vectors/words"] - start).max(axis=1) > 1e-4
        assert moved.tolist() == [name == "tuned"] * 3
        np.testing.assert_array_equal(found["vectors/others"], others)
        # The others of the text's words are <UNK>, which both have trained.
        assert np.abs(found["vectors/marks"][2] - rows["<unk>"]).max() > 1e-4


def test_a_folder_predicts_again_and_knows_words_that_training_had_not(trained):
    folder, _ = trained
    for name in ("tuned", "frozen"):
        again = folder / f"{name}_again"
        flags = (f"--init_checkpoint={folder / name}", "--do_predict")
        classify(folder, again, *flags)
        first, second = (
            np.loadtxt(path / "test_results.tsv") for path in (folder / name, again)
        )
        np.testing.assert_allclose(second, first, atol=1e-6)
    config, vocab = folder / "tuned/vectors_config.json", folder / "tuned/vocab.txt"
    system = vectors.VectorsSystem(
        VectorsConfig.from_json_file(str(config)), str(vocab)
    )
    ids = system.match_vocabulary().speller().encode(["elsewhere", "x7", "unheard"])
    assert ids.tolist() == [8, 7, 2]


def test_flags_that_cannot_be_are_one_line(trained, tmp_path):
    folder, _ = trained
    path, _ = write(tmp_path)
    init = f"--init_checkpoint={path}"
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "vectors", "vector_size": 7}))
    tuned = f"--init_checkpoint={folder / 'tuned'}"
    for flags, message in (
        ((init, "--do_eval"), "holds word vectors, and no trained model: use --do_tr"),
        ((init, *TRAIN, f"--config_file={config}"), "has vectors of 6 numbers, but "),
        ((init, *TRAIN, "--channels=2"), "channels is 2, which reader cnn has, not "),
        ((init, *TRAIN, "--resize_vocab"), "--resize_vocab=True is not for vectors"),
        (
            (tuned, "--do_eval", "--reader=lstm"),
            "--reader=lstm, but the model in .*tuned.* has reader 'cnn'",
        ),
    ):
        with pytest.raises(UserError, match=message):
            classify(tmp_path, tmp_path / "out", *flags)
    flags = ("--do_predict", f"--predict_file={path}", f"--output_dir={tmp_path}/x")
    with pytest.raises(UserError, match="vectors does not answer questions"):
        scripts.run("run_squad", init, *flags)


def test_random_vectors_of_the_texts_words(tmp_path):
    flags = ("--model_type=vectors", "--tokenizer=english", "--num_train_epochs=3")
    flags += ("--do_eval", "--do_predict")
    classify(tmp_path, tmp_path / "out", *TRAIN, *flags)
    results = tiny.read_results(tmp_path / "out" / "eval_results.txt")
    assert results["eval_accuracy"] > 0.9
    assert "vectors/words" in tables(tmp_path / "out")
    assert "vectors/others" not in tables(tmp_path / "out")
    # No graph has English's rules, so what finds words stands beside.
    export.export_model(str(tmp_path / "out"), str(tmp_path / "saved"))
    texts = [example.text_a for example in tiny.examples(11, 2)]
    found = export.load(str(tmp_path / "saved")).predict(texts)["probabilities"]
    wanted = np.loadtxt(tmp_path / "out" / "test_results.tsv")
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_an_export_reads_text(trained, tmp_path):
    folder, _ = trained
    export.export_model(str(folder / "tuned"), str(tmp_path / "saved"))
    texts = [e.text_a for e in tiny.examples(11, 2)]
    saved = export.load(str(tmp_path / "saved"))
    found = saved.predict(texts)["probabilities"]
    wanted = np.loadtxt(folder / "tuned" / "test_results.tsv")
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    # All of Unicode's white space parts words, as in training.
    odd = [text.replace(" ", "\u3000\x1f\xa0") for text in texts]
    np.testing.assert_array_equal(saved.predict(odd)["probabilities"], found)


def test_pairs_are_laid_out_in_a_graph_as_in_records(tmp_path):
    path, _ = write(tmp_path)
    system = vectors.begin(None, [], word_vectors=path)
    texts = ["good bad x1 x2 x3 x4", "none", "", "The"]
    others = ["bad", "Good word1 elsewhere x9 x8 x7 x6", "bad", ""]
    found = system.text_encoder(9)(tf.constant(texts), tf.constant(others))
    examples = [InputExample("", a, b) for a, b in zip(texts, others, strict=True)]
    speller = system.speller()
    columns = classification_columns(examples, speller, str.split, 9, (), "regression")
    for row, words in zip(found["input_ids"].numpy(), columns.sentences, strict=True):
        ids = speller.encode(words) + 1
        assert row.tolist() == [*ids, *[0] * (len(row) - len(ids))]
    with pytest.raises(tf.errors.InvalidArgumentError, match="differ in number"):
        system.text_encoder(9)(tf.constant(texts), tf.constant(others[:1]))


def test_english_rules_split_texts_outside_graphs(tmp_path):
    system = vectors.begin(VectorsConfig(tokenizer="english"), ["Good,", "Good,", "no"])
    assert list(system.words[3:]) == [",", "good"]
    can = system.need("classifies")
    assert system.text_encoder(9) is None
    task = tiny.task(tmp_path).config
    columns = can.columns([InputExample("", "Good, no", None, "good")], task)
    assert columns.sentences == [["<S>", "Good", ",", "no", "</S>"]]


def test_a_tagger_learns_is_used_again_and_exported(tmp_path):
    path, _ = write(tmp_path, [*tiny.WORDS, "other"], 8)
    kept = [
        flag
        for flag in tiny_tagging.flags(tmp_path, tmp_path / "out")
        if not flag.startswith(("--vocab_file", "--bert_config_file"))
    ]
    flags = (f"--init_checkpoint={path}", "--do_train", "--do_predict", "--crf")
    scripts.run("run_tagger", *kept, *flags, "--finetune_encoder=false")
    results = tiny.read_results(tmp_path / "out" / "test_results.txt")
    assert results["test_f1"] > 0.8
    found = word_vectors.read(path)
    words = (tmp_path / "out/vocab.txt").read_text().split("\n")
    there = tables(tmp_path / "out")
    for name, first in (("words", 3), ("others", 3 + len(there["vectors/words"]))):
        for word, row in zip(words[first:], there[f"vectors/{name}"], strict=False):
            np.testing.assert_array_equal(row, found.vectors[found.words.index(word)])
    export.export_model(str(tmp_path / "out"), str(tmp_path / "saved"))
    sentences = [words for words, _ in tiny_tagging.sentences(9, 2)]
    tags = export.load(str(tmp_path / "saved")).predict(sentences)["tags"]
    lines = (tmp_path / "out" / "test_predictions.txt").read_text().split("\n")
    predicted = [line.split()[-1] for line in lines if line.strip()]
    assert [tag for row in tags for tag in row] == predicted


def extract(folder, *flags):
    scripts.run(
        "extract_features",
        f"--input_file={folder / 'lines.txt'}",
        f"--output_file={folder / 'out.npy'}",
        f"--init_checkpoint={folder / 'vectors.txt'}",
        *flags,
    )
    return np.load(folder / "out.npy")


def test_lines_have_the_vectors_of_their_words(tmp_path):
    _, values = write(tmp_path)
    rows = {w: values[i] for i, w in enumerate(WORDS)}
    lines = ["good bad , The", "x9 x1 good good", "unheard", "", "Word1 elsewhere, bad"]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n")
    unknown = rows["<unk>"]
    found = [
        ["good", "bad", None, "The"],
        ["x0", "x0", "good", "good"],
        [None],
        [],
        ["word1", None, "bad"],
    ]
    vectors_of = [[rows.get(word, unknown) for word in line] for line in found]
    zero = [np.zeros(6)]
    for pooling, reduce in (("mean", np.mean), ("max", np.max)):
        wanted = [reduce(line or zero, axis=0) for line in vectors_of]
        got = extract(tmp_path, f"--pooling={pooling}")
        np.testing.assert_allclose(got, wanted, atol=1e-6)
    for pooling, place in (("first", 0), ("last", -1)):
        wanted = [(line or zero)[place] for line in vectors_of]
        np.testing.assert_array_equal(extract(tmp_path, f"--pooling={pooling}"), wanted)
    with pytest.raises(UserError, match=r"cls: vectors reads no \[CLS\]; wanted first"):
        extract(tmp_path, "--pooling=CLS_TOKEN")
    words = extract(tmp_path, "--max_seq_length=4")
    assert words.shape == (5, 4, 1, 6)
    np.testing.assert_allclose(words[4, :3, 0], vectors_of[4], atol=1e-6)
    # English's rules find the word before the comma.
    english = extract(tmp_path, "--pooling=mean", "--tokenizer=english")
    wanted = [rows["word1"], rows["elsewhere"], unknown, rows["bad"]]
    np.testing.assert_allclose(english[4], np.mean(wanted, axis=0), atol=1e-6)


def test_lines_weighted_by_idf_and_by_sif(tmp_path):
    words = [*WORDS[:-1], *(f"w{chr(97 + i)}" for i in range(5))]
    _, values = write(tmp_path, words)
    rng = np.random.default_rng(0)
    lines = [list(rng.choice(words, size=rng.integers(1, 9))) for _ in range(13)]
    (tmp_path / "lines.txt").write_text("\n".join(map(" ".join, lines)) + "\n")
    rows = dict(zip(words, values, strict=True))
    counter = TfidfVectorizer(analyzer=lambda line: line)
    counter.fit(lines)
    idf = {w: counter.idf_[i] for w, i in counter.vocabulary_.items()}
    wanted = [np.mean([idf[w] * rows[w] for w in line], axis=0) for line in lines]
    got = extract(tmp_path, "--pooling=mean", "--word_weighting=idf")
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    # Arora et al. 2017, algorithm 1, lines 2 and 6.
    flat = [word for line in lines for word in line]
    p = {word: flat.count(word) / len(flat) for word in words}
    v = [sum(1e-3 / (1e-3 + p[w]) * rows[w] for w in s) / len(s) for s in lines]
    u = np.linalg.svd(np.array(v).T)[0][:, :1]
    wanted = np.array(v) - np.array(v) @ u @ u.T
    got = extract(tmp_path, "--pooling=mean", "--word_weighting=sif")
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-7)
    separate = "--word_weighting=sif", "--layer_combination=separate"
    got = extract(tmp_path, "--pooling=mean", *separate)
    np.testing.assert_allclose(got, wanted[:, None], rtol=1e-3, atol=1e-7)
    with pytest.raises(UserError, match="--word_weighting=sif needs --pooling=mean"):
        extract(tmp_path, "--word_weighting=sif")


def test_one_word_has_no_neighbours():
    model = VectorsModel(SIZES)
    one, other = model(IDS)["vectors"].numpy(), IDS.copy()
    other[0, 2] = 5
    changed = model(other)["vectors"].numpy()
    assert (np.abs(one - changed).max(-1) > 0).sum() == 1
