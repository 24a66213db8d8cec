"""The graph of an export against the Python that trains and predicts."""

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline.readers import squad
from data_pipeline.squad import answers as squad_answers
from data_pipeline.squad import features as squad_features
from data_pipeline.squad.answers import AnswerConfig
from data_pipeline.squad.features import WindowConfig
from data_pipeline.squad.graph import SquadGraph
from data_pipeline.squad.pieces import WordPieces

pytestmark = pytest.mark.long

WORDS = ["the", "fox", "caf", "##e", "##s", "steve", "(", ")", ".", "'", "s", "-"]
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, "中", "国", "人", "，", "18"]
PARTS = [
    "the",
    "Fox's",
    "(Cafés).",
    "Steve\u200b",
    "x18-18",
    "fox\u00a0the",
    "(the\u3000fox)\u2028\u00a0.",
    "fox\x0bthe.\x85",
    "中国，人",
]
PARTS += ["THE-fox", "İfox", "中", "国 人", "fox\u202f(the)", "...", "\ufffd", "cafe"]
WINDOWS = WindowConfig(max_seq_length=17, doc_stride=4, max_query_length=5)


def texts(number, seed, most):
    rng = np.random.default_rng(seed)
    spaces = [" ", "\n", "\t ", "  "]
    return [
        "".join(
            str(rng.choice(PARTS)) + str(rng.choice(spaces))
            for _ in range(rng.integers(1, most))
        )
        for _ in range(number)
    ]


def build(tmp_path, language, **config):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(VOCAB) + "\n")
    tokenizer = WordPieces(str(path), config.get("do_lower_case", True))
    config = AnswerConfig(**config)
    questions, contexts = texts(40, 1, 6), texts(40, 2, 25)
    questions[3], contexts[5], contexts[7] = "", "\u200b", "the"
    examples = [
        squad.SquadExample(str(i), question, squad.make_context(context, language)[0])
        for i, (question, context) in enumerate(zip(questions, contexts, strict=True))
    ]
    graph = SquadGraph(VOCAB, WINDOWS, config, language)
    traced = tf.function(graph.windows, autograph=False)
    windows = traced(tf.constant(questions), tf.constant(contexts))
    features = list(squad_features.Converter(tokenizer, WINDOWS).convert(examples))
    return graph, windows, examples, features, tokenizer, config


@pytest.mark.parametrize("language", ["en", "zh"])
def test_windows_are_those_of_the_features(tmp_path, language):
    _, windows, _, features, _, _ = build(tmp_path, language)
    # A context without pieces has no window there, an empty one here.
    rows = np.flatnonzero(windows["owner"] != 5)
    assert len(rows) == len(features) > 100
    for row, feature in zip(rows, features, strict=True):
        length = len(feature.input_ids)
        assert windows["owner"][row] == feature.example_index
        for name, wanted in (
            ("input_ids", feature.input_ids),
            ("input_mask", [1] * length),
            ("segment_ids", feature.segment_ids),
            ("is_max_context", feature.is_max_context),
        ):
            found = windows[name][row].numpy().astype(int)
            np.testing.assert_array_equal(found[:length], wanted, err_msg=name)
            assert not found[length:].any()
        found = windows["words"][row].numpy()
        np.testing.assert_array_equal(found[:length], feature.token_to_orig)
        assert (found[length:] == -1).all()


@pytest.mark.parametrize("scale", [3.0, 0.0], ids=["scores", "ties"])
@pytest.mark.parametrize(
    ("language", "config"),
    [
        ("en", {"max_answer_length": 6}),
        ("en", {"do_lower_case": False, "n_best_size": 4}),
        ("en", {"version_2_with_negative": True, "null_score_diff_threshold": -1.5}),
        ("zh", {}),
    ],
    ids=["en", "cased", "no answer", "zh"],
)
def test_answers_are_those_of_the_script(tmp_path, language, config, scale):
    graph, windows, examples, features, tokenizer, config = build(
        tmp_path, language, **config
    )
    rng = np.random.default_rng(3)
    shape = windows["input_ids"].shape
    logits = (scale * rng.normal(size=[2, *shape])).astype("f4").round(1)
    outputs = tf.function(graph.answer, autograph=False)(
        windows, *map(tf.constant, logits)
    )
    real = windows["input_mask"].numpy() > 0
    known = np.where(real, logits, tf.float32.min)[:, windows["owner"].numpy() != 5]
    wanted = squad_answers.choose_answers(examples, features, *known, tokenizer, config)
    found = [answer.decode() for answer in outputs["answers"].numpy()]
    assert found == list(wanted.predictions.values())
    assert len(set(found)) > (5 if scale else 0)
    if config.version_2_with_negative:
        odds = list(wanted.null_odds.values())
        checked = np.arange(len(odds)) != 5
        np.testing.assert_allclose(
            outputs["null_odds"].numpy()[checked], np.array(odds)[checked], atol=1e-5
        )
        assert "" in found


def test_an_empty_batch_has_no_answers(tmp_path):
    graph, *_ = build(tmp_path, "en")
    none = tf.zeros([0], tf.string)
    windows = graph.windows(none, none)
    logits = tf.zeros(windows["input_ids"].shape)
    assert graph.answer(windows, logits, logits)["answers"].shape == (0,)


def test_as_many_questions_as_contexts_are_wanted(tmp_path):
    graph, *_ = build(tmp_path, "en")
    with pytest.raises(tf.errors.InvalidArgumentError, match="differ in number"):
        graph.windows(tf.constant(["a", "b"]), tf.constant(["a"]))
