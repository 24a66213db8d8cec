"""Looking inside: what heads attend to, which layers a task takes, curves of runs."""

import dataclasses

import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_gpt
import tiny_tagging

import modeling
import pictures
from checkpoints import google_bert
from errors import UserError
from inference import attentions
from modeling.xlm import XlmConfig, XlmModel
from training import curves
from training.progress import Progress

pytestmark = pytest.mark.long

CONFIG = dataclasses.replace(tiny.CONFIG, num_hidden_layers=2)
MASK = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]], np.int32)
IDS = np.random.default_rng(3).integers(5, 30, MASK.shape).astype(np.int32) * MASK


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def by_hand(x, query, key, visible, heads):
    """Vaswani et al. 2017, equation 1, in float64: x [B, S, H] -> [B, heads, S, S]."""
    sides = []
    for kernel, bias in (query, key):
        side = x.astype(np.float64) @ kernel + bias
        batch, length, width = side.shape
        side = side.reshape(batch, length, heads, width // heads)
        sides.append(side.transpose(0, 2, 1, 3))
    q, k = sides
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1])
    return softmax(np.where(visible, scores, -1e9))


def weights(model, scope):
    return {
        name.removeprefix(scope): np.asarray(value, np.float64)
        for name, value in modeling.named_variables(model).items()
        if name.startswith(scope)
    }


@pytest.mark.parametrize("kind", ["bert", "xlm"])
def test_attentions_of_both_sides_are_the_papers(kind):
    if kind == "bert":
        model = modeling.BertModel(CONFIG, seed=5)
        others = {"segment_ids": tf.constant(IDS % 2)}
        scope = "bert/encoder/layer_1/attention/self/"
    else:
        config = XlmConfig(("en",), n_words=30, emb_dim=15, n_heads=3, n_layers=2)
        model, others = XlmModel(config, seed=5), {}
        scope = "xlm/encoder/layer_1/attention/self/"
    for variable in model.variables:
        if variable.ndim > 1:
            variable.assign(5 * variable)  # far from alike
    inputs = {"input_mask": tf.constant(MASK), **others}
    found = model.attentions(tf.constant(IDS), **inputs).numpy()
    assert found.shape == (2, 2, 3, 7, 7)
    layers = model(tf.constant(IDS), **inputs)["all_encoder_layers"]
    w = weights(model, scope)
    sides = [(w[f"{side}/kernel"], w[f"{side}/bias"]) for side in ("query", "key")]
    wanted = by_hand(layers[0].numpy(), *sides, MASK[:, None, None] > 0, 3)
    assert wanted.max() > 0.5
    np.testing.assert_allclose(found[:, 1], wanted, atol=1e-5)


def test_attentions_from_left_to_right_are_the_papers():
    model = modeling.GptModel(
        modeling.GptConfig(n_vocab=30, n_ctx=11, n_embd=15, n_layer=2, n_head=3)
    )
    for variable in model.variables:
        if variable.ndim > 1:
            variable.assign(10 * variable)
    found = model.attentions(tf.constant(IDS), input_mask=tf.constant(MASK)).numpy()
    embedded = model(tf.constant(IDS))["embedding_output"].numpy()
    w = weights(model, "h0/attn/c_attn/")
    parts = zip(np.split(w["w"][0], 3, axis=1), np.split(w["b"], 3), strict=True)
    query, key, _ = parts
    visible = (np.tri(7) * MASK[:, None, None]) > 0
    wanted = by_hand(embedded, query, key, visible, 3)
    np.testing.assert_allclose(found[:, 0], wanted, atol=1e-5)
    assert (found[:, :, :, 0, 1:] == 0).all()  # the first one sees itself


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a tiny model of random weights."""
    folder = tmp_path_factory.mktemp("model")
    vocab, _ = tiny.write_model(folder)
    variables = modeling.named_variables(modeling.BertModel(CONFIG, seed=5))
    tensors = {name: variable.numpy() for name, variable in variables.items()}
    google_bert.save_folder(str(folder), tensors, CONFIG, vocab, True)
    return folder


def extract(model, folder, *more):
    scripts.run(
        "extract_features",
        f"--init_checkpoint={model}",
        f"--input_file={folder}/input.txt",
        f"--output_file={folder}/attentions.npz",
        "--max_seq_length=24",
        *more,
    )


def test_the_script_writes_every_line_and_draws_one(model, tmp_path):
    (tmp_path / "input.txt").write_text("good word1\n\nbad ||| word2 $x$ word3\n")
    for ending in ("png", "svg"):
        plot = tmp_path / f"heads.{ending}"
        extract(model, tmp_path, "--attentions", f"--plot_file={plot}", "--plot_line=2")
    assert plot.read_text().count(">[SEP]<") > 0
    found = np.load(tmp_path / "attentions.npz")
    assert found["pieces_0"].tolist() == ["[CLS]", "good", "word1", "[SEP]"]
    assert found["pieces_1"].tolist() == ["[CLS]", "[SEP]"]
    assert found["attentions_2"].shape == (2, 3, 9, 9)
    for number in range(3):
        sums = found[f"attentions_{number}"].sum(-1)
        np.testing.assert_allclose(sums, 1, atol=1e-5)
    before = (tmp_path / "attentions.npz").read_bytes()
    extract(model, tmp_path, "--attentions")
    assert (tmp_path / "attentions.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--plot_file=a.png"], "--plot_file is of --attentions"),
        (["--attentions", "--plot_file=a.gif"], "--plot_file=a.gif: wanted one of"),
        (["--attentions", "--pooling=mean"], "--pooling is of vectors"),
        (["--attentions", "--plot_file=a.png", "--plot_line=1"], "--plot_line=1, but"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(model, tmp_path, flags, message):
    (tmp_path / "input.txt").write_text("good\n")
    with pytest.raises(UserError, match=message):
        extract(model, tmp_path, *flags)
    assert not (tmp_path / "attentions.npz").exists()


def read_weights(folder):
    rows = (folder / "layer_weights.tsv").read_text().splitlines()
    assert rows[0] == "layer\tweight"
    return {name: float(value) for name, value in (x.split("\t") for x in rows[1:])}


def check_weights(folder, layers):
    found = read_weights(folder)
    assert list(found) == [*map(str, range(layers)), "gamma"]
    gamma = found.pop("gamma")
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert gamma != 1
    assert max(found.values()) > 1.01 / layers  # they have learnt


def classify(folder, *more):
    scripts.run(
        "run_classifier",
        *tiny.COLUMNS,
        f"--data_dir={folder}/data",
        f"--output_dir={folder}/out",
        *more,
    )


@pytest.mark.parametrize("kind", ["bert", pytest.param("gpt", marks=pytest.mark.slow)])
def test_a_classifier_learns_a_mixture_of_frozen_layers(model, tmp_path, kind):
    tiny.write_data(tmp_path / "data")
    if kind == "bert":
        start, scope = [f"--init_checkpoint={model}", "--max_seq_length=24"], "bert/"
    else:
        start, scope = tiny_gpt.model_flags(tmp_path), "h0/"
    training = ["--do_train", "--learning_rate=3e-2", "--num_train_epochs=6"]
    steps = ["--do_eval", "--layer_mix", "--save_checkpoints_steps=10"]
    steps.append("--keep_checkpoint_max=0")
    classify(tmp_path, *start, *training, *steps)
    check_weights(tmp_path / "out", 3)
    reader = tf.train.load_checkpoint(str(tmp_path / "out"))
    name = next(n for n in reader.get_variable_to_shape_map() if n.startswith(scope))
    first = tf.train.load_checkpoint(str(tmp_path / "out" / "model.ckpt-10"))
    np.testing.assert_array_equal(reader.get_tensor(name), first.get_tensor(name))
    before = tiny.read_results(tmp_path / "out" / "eval_results.txt")
    assert before["eval_accuracy"] > 0.6
    classify(tmp_path, "--do_eval")  # the folder knows
    after = tiny.read_results(tmp_path / "out" / "eval_results.txt")
    assert after["eval_loss"] == pytest.approx(before["eval_loss"], abs=1e-6)


def test_a_tagger_learns_a_mixture_of_frozen_layers(model, tmp_path):
    flags = tiny_tagging.flags(tmp_path, tmp_path / "out")
    config = f"--bert_config_file={model}/bert_config.json"
    flags = [flag for flag in flags if not flag.startswith("--bert_config_file")]
    start = [*flags, config, f"--init_checkpoint={model}", "--layer_mix"]
    scripts.run("run_tagger", *start, "--do_train", "--do_eval", "--num_train_epochs=4")
    check_weights(tmp_path / "out", 3)


def test_a_system_that_always_mixes_or_never_refuses_the_flag(tmp_path):
    (tmp_path / "vectors.txt").write_text("2 2\ngood 1 0\nbad 0 1\n")
    tiny.write_data(tmp_path / "data", 20, 5, 5)
    with pytest.raises(UserError, match="--layer_mix=True is not for vectors, only fo"):
        classify(
            tmp_path,
            f"--init_checkpoint={tmp_path}/vectors.txt",
            "--do_train",
            "--layer_mix",
        )


def write_run(folder, values):
    """Writes events as a training does."""
    with Progress(0, len(values), str(folder / "events")) as progress:
        for step, value in enumerate(values, 1):
            progress.steps(10 * step, {"loss": value, "examples_per_second": 1.0})
        progress.events(10 * len(values), {"eval_accuracy": value}, prefix="eval")


def test_curves_are_what_was_written_and_seeds_are_joined(tmp_path):
    write_run(tmp_path / "one", [3.0, 2.0, 1.0])
    write_run(tmp_path / "many" / "seed_0", [3.0, 2.0])
    write_run(tmp_path / "many" / "seed_1", [1.0, 0.0, 5.0])
    one, many = (curves.read(str(tmp_path / name)) for name in ("one", "many"))
    assert one["train/loss"].steps.tolist() == [10, 20, 30]
    np.testing.assert_array_equal(one["train/loss"].values, [[3, 2, 1]])
    assert many["train/loss"].steps.tolist() == [10, 20]
    np.testing.assert_array_equal(many["train/loss"].values, [[3, 2], [1, 0]])
    runs = {"one": one, "many": many}
    assert curves.shown(runs, None) == ["train/loss", "eval/eval_accuracy"]
    with pytest.raises(UserError, match="no run has eval/f1; there are train/loss, "):
        curves.shown(runs, ["eval/f1"])
    with pytest.raises(UserError, match="vacant: no TensorBoard events in"):
        curves.read(str(tmp_path / "vacant"))


def test_the_script_draws_runs_under_names_of_their_own(tmp_path, capsys):
    for name in ("a/x", "b/x"):
        write_run(tmp_path / name, [3.0, 2.0, 1.0])
    output = tmp_path / "curves.svg"
    flags = (f"--runs={tmp_path}/?/x", f"--output_file={output}")
    scripts.run("plot_runs", *flags)
    text = output.read_text()
    for name in ("a/x", "b/x", "train/loss"):
        assert f">{name}<" in text
    assert "runs = 2\npanels = 2" in capsys.readouterr().out
    with pytest.raises(UserError, match="--names=c: wanted 2 different names, for"):
        scripts.run("plot_runs", *flags, "--names=c")
    with pytest.raises(UserError, match="curves.gif: wanted one of .png, .pdf, .svg"):
        scripts.run("plot_runs", flags[0], "--output_file=curves.gif")


def test_names_at_the_ends_of_lines_do_not_touch(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(pictures, "save", lambda path, figure: made.append(figure))
    curve = curves.Curve(np.array([1, 2]), np.array([[3.0, 1.0]]))
    curves.draw("a.png", {f"run {i}": {"loss": curve} for i in range(4)}, ["loss"])
    [axes] = made[0].axes
    places = sorted(text.get_position()[1] for text in axes.texts)
    assert (np.diff(places) > 0.05).all()
    assert places[-1] <= 1
    assert {text.get_text() for text in axes.texts} == {f"run {i}" for i in range(4)}


def test_attentions_of_many_lines_are_those_of_each(model, tmp_path):
    lines = [e.text_a for e in tiny.examples(9, seed=3)]
    system = tiny.BertSystem(
        CONFIG, str(model / "vocab.txt"), init_checkpoint=str(model)
    )
    reader = attentions.AttentionReader(system, 24)
    for line, found in zip(lines, reader.read(lines), strict=True):
        assert len(found.pieces) == len(line.split()) + 2
        assert found.values.shape[-1] == len(found.pieces)
        np.testing.assert_allclose(found.values.sum(-1), 1, atol=1e-5)
