"""Texts are decided by seed, row and position; the cache and batches change nothing."""

import json
import logging

import numpy as np
import pytest
import scripts
import tensorflow as tf

import model_flags
import modeling
import tokenization_bpe
from inference.generation import GenerationConfig, Generator
from modeling.layers import sampling
from modeling.layers.recurrent import LstmStack
from systems.gpt import GptSystem

pytestmark = pytest.mark.long

CONFIG = modeling.GptConfig(
    n_vocab=29, n_special=3, n_ctx=23, n_embd=15, n_layer=2, n_head=3
)
PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 12, 1], [2, 3], [4, 4, 4, 4]]


def _model(config=CONFIG):
    model = modeling.GptModel(config)
    for variable in model.variables:
        if variable.ndim > 1:
            variable.assign(6 * variable)
    return model


def _texts(model, prompts=PROMPTS, stop_id=None, **kwargs):
    generator = Generator(model, GenerationConfig(**kwargs), stop_id)
    return list(generator.generate(prompts))


def test_greedy_texts_are_the_best_tokens_of_whole_passes():
    model = _model()
    texts = _texts(model, max_new_tokens=6, temperature=0, batch_size=3)
    assert [len(text) for text in texts] == [6] * 5
    for prompt, text in zip(PROMPTS, texts, strict=True):
        whole = tf.constant([[*prompt, *text]])
        hidden = model(whole)["sequence_output"][0, len(prompt) - 1 : -1]
        best = tf.argmax(model.lm_logits(hidden)[:, :29], axis=-1)
        np.testing.assert_array_equal(text, best)


def test_texts_do_not_depend_on_the_batch_size_but_on_the_seed():
    model = _model()
    shape = {"max_new_tokens": 9, "top_k": 12, "top_p": 0.95}
    one, two, five = (_texts(model, batch_size=b, seed=3, **shape) for b in (1, 2, 5))
    assert one == two == five
    assert _texts(model, batch_size=5, seed=4, **shape) != five


class LstmModel:
    """A language model whose past is a state, and that reads any length."""

    max_length = None
    num_tokens = 29

    def __init__(self):
        random = np.random.default_rng(0)
        self._embeddings = tf.constant(random.normal(size=(29, 7)), tf.float32)
        self._softmax = tf.constant(3 * random.normal(size=(5, 29)), tf.float32)
        self._stack = LstmStack(2, 6, 5, seed=1, name="stack")
        self._stack.build([None, None, 7])
        for variable in self._stack.variables:
            variable.assign(4 * variable)

    def initial_cache(self, batch_size, length):
        del length
        return tuple(cell.zero_state(batch_size) for cell in self._stack.cells)

    def cache_spec(self):
        return tf.nest.map_structure(
            lambda x: tf.TensorSpec([None, x.shape[1]]), self.initial_cache(1, 1)
        )

    def step(self, input_ids, cache, position, lengths):
        del position
        x = tf.gather(self._embeddings, input_ids)
        outputs, states = self._stack(x, lengths, cache)
        return outputs[-1], tuple(states)

    def lm_logits(self, hidden):
        return hidden @ self._softmax


def test_a_recurrent_model_writes_the_best_tokens_of_whole_passes():
    model = LstmModel()
    texts = _texts(model, max_new_tokens=6, temperature=0, batch_size=5)
    for prompt, text in zip(PROMPTS, texts, strict=True):
        whole = tf.constant([[*prompt, *text]])
        start, end = tf.constant([0]), tf.constant([whole.shape[1]])
        hidden, _ = model.step(whole, model.initial_cache(1, 0), start, end)
        best = tf.argmax(model.lm_logits(hidden[0, len(prompt) - 1 : -1]), axis=-1)
        np.testing.assert_array_equal(text, best)
    long = [*range(1, 25)] * 2  # a GPT of this test reads 23
    assert len(_texts(model, [long], max_new_tokens=30, seed=2)[0]) == 30


def test_two_texts_of_one_prompt_differ():
    first, second = _texts(_model(), [[3], [3]], max_new_tokens=9, temperature=3.0)
    assert first != second


def test_a_stream_gives_the_tokens_of_the_whole_text():
    model = _model()
    config = GenerationConfig(max_new_tokens=7, seed=5)
    (text,) = Generator(model, config).generate(PROMPTS[:1])
    assert list(Generator(model, config).stream(PROMPTS[0])) == text


def test_a_text_ends_before_the_stop_token():
    model = _model()
    whole = _texts(model, max_new_tokens=9, seed=1, temperature=2.0)
    stop = whole[0][4]
    ended = _texts(model, max_new_tokens=9, seed=1, temperature=2.0, stop_id=stop)
    for text, short in zip(whole, ended, strict=True):
        assert short == (text[: text.index(stop)] if stop in text else text)
    generator = Generator(
        model, GenerationConfig(max_new_tokens=9, seed=1, temperature=2.0), stop
    )
    assert list(generator.stream(PROMPTS[0])) == ended[0]


def test_tokens_that_are_not_allowed_leave_their_place_to_the_next_best():
    model = LstmModel()
    config = GenerationConfig(max_new_tokens=1, temperature=0)
    hidden, _ = model.step(
        tf.constant([[3, 1]]),
        model.initial_cache(1, 0),
        tf.constant([0]),
        tf.constant([2]),
    )
    best = tf.argsort(model.lm_logits(hidden[0, -1:])[0], direction="DESCENDING")
    never = best[:2].numpy().tolist()
    (text,) = Generator(model, config, None, never).generate([[3, 1]])
    assert text == [best[2]]


def test_special_tokens_and_positions_are_never_written():
    model = _model()
    model.we.assign(tf.concat([model.we[:29], 9 * model.we[29:]], axis=0))
    texts = _texts(model, max_new_tokens=9, temperature=5.0)
    assert max(max(text) for text in texts) < 29


def test_a_long_prompt_loses_its_beginning_and_is_counted(caplog):
    model, prompt = _model(), [1, 2, *range(3, 22)]
    with caplog.at_level(logging.WARNING):
        texts = _texts(model, [prompt, [5]], max_new_tokens=6, temperature=0)
    assert "1 of 2 prompts lost their beginning, 4 tokens in all" in caplog.text
    assert "n_ctx=23" in caplog.text
    assert texts[0] == _texts(model, [prompt[-17:]], max_new_tokens=6, temperature=0)[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_new_tokens": 23}, "--max_new_tokens=23; wanted less than n_ctx=23"),
        ({"max_new_tokens": 0}, "--max_new_tokens=0"),
        ({"temperature": -1.0}, "--temperature=-1.0"),
        ({"top_k": -1}, "--top_k=-1"),
        ({"top_p": 0.0}, "--top_p=0.0"),
        ({"batch_size": 0}, "--batch_size=0"),
    ],
)
def test_an_impossible_setting_names_its_flag(change, message):
    with pytest.raises(ValueError, match=message):
        _texts(_model(), **change)


def test_an_empty_prompt_is_named():
    with pytest.raises(ValueError, match="prompt 2 has no token"):
        _texts(_model(), [[3], []], max_new_tokens=2)


def _shares(logits, **kwargs):
    """How often each token is drawn in 4000 rows of one score."""
    rows = tf.repeat(tf.constant([logits], tf.float32), 4000, axis=0)
    seeds = tf.stack([tf.zeros([4000], tf.int64), tf.range(4000, dtype=tf.int64)], 1)
    drawn = tf.function(sampling.sample, autograph=False)(rows, seeds, **kwargs)
    return np.bincount(drawn, minlength=len(logits)) / 4000


PROBABILITIES = np.array([0.1, 0.4, 0.05, 0.3, 0.15])


def test_tokens_are_drawn_with_their_probabilities():
    shares = _shares(np.log(PROBABILITIES))
    np.testing.assert_allclose(shares, PROBABILITIES, atol=0.03)


def test_a_temperature_sharpens():
    wanted = PROBABILITIES**2 / np.sum(PROBABILITIES**2)
    shares = _shares(np.log(PROBABILITIES), temperature=0.5)
    np.testing.assert_allclose(shares, wanted, atol=0.03)
    assert _shares(np.log(PROBABILITIES), temperature=0.0)[1] == 1


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [
        ({"top_k": 2}, [1, 3]),
        ({"top_k": 9}, [0, 1, 2, 3, 4]),
        ({"top_p": 0.3}, [1]),
        ({"top_p": 0.75}, [1, 3, 4]),
        ({"top_k": 3, "top_p": 0.8}, [1, 3]),
    ],
)
def test_only_the_best_tokens_are_drawn(limit, allowed):
    kept = np.zeros(5)
    kept[allowed] = PROBABILITIES[allowed] / PROBABILITIES[allowed].sum()
    shares = _shares(np.log(PROBABILITIES), **limit)
    np.testing.assert_allclose(shares, kept, atol=0.03)
    assert np.all(shares[kept == 0] == 0)


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A system whose weights come from `_model`, as a checkpoint's would."""
    pieces = [
        "<unk>",
        "\n</w>",
        *"abcdefghijklm",
        *(f"{c}</w>" for c in "abcdefghijklmn"),
    ]
    (tmp_path / "vocab.json").write_text(
        json.dumps({p: i for i, p in enumerate(pieces)})
    )
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    system = GptSystem(CONFIG, str(tmp_path / "vocab.json"), None, "checkpoint")
    model = _model()

    def initialize(_, variables, head):
        assert head is None
        for name, variable in modeling.named_variables(model).items():
            variables[name].assign(variable)

    monkeypatch.setattr(GptSystem, "initialize", initialize)
    monkeypatch.setattr(model_flags, "system", lambda _: system)
    return system


FLAGS = ("--init_checkpoint=checkpoint", "--max_new_tokens=7", "--temperature=2.0")


def test_a_prompts_text_is_printed_behind_it(checkpoint, capsys):
    scripts.run("generate", *FLAGS, "--prompt=ab c", "--nostop_at_newline")
    tokenizer = checkpoint.tokenizer()
    (text,) = _texts(
        _model(), tokenizer.encode(["ab c"]), max_new_tokens=7, temperature=2.0
    )
    whole = capsys.readouterr().out
    assert whole == f"ab c {tokenizer.decode(text)}\n"
    scripts.run("generate", *FLAGS, "--prompt=ab c", "--nostop_at_newline", "--stream")
    assert capsys.readouterr().out == whole
    scripts.run("generate", *FLAGS, "--prompt=", "--nostop_at_newline")
    assert not capsys.readouterr().out.startswith(" ")  # nothing stands before it


def test_a_files_prompts_become_json_lines(checkpoint, tmp_path):
    source, output = tmp_path / "prompts.txt", tmp_path / "texts.jsonl"
    source.write_text("ab c\n\nd e f\n")
    scripts.run(
        "generate",
        *FLAGS,
        f"--input_file={source}",
        f"--output_file={output}",
        "--num_samples=2",
        "--batch_size=4",
    )
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["prompt"] for line in lines] == ["ab c"] * 2 + [""] * 2 + ["d e f"] * 2
    ids = checkpoint.tokenizer().encode([line["prompt"] for line in lines])
    newline = checkpoint.tokenizer().encoder[tokenization_bpe.NEWLINE_TOKEN]
    texts = _texts(
        _model(),
        [row or [newline] for row in ids],
        max_new_tokens=7,
        temperature=2.0,
        stop_id=newline,
    )
    wanted = [checkpoint.tokenizer().decode(text) for text in texts]
    assert [line["text"] for line in lines] == wanted


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "give --prompt or --input_file"),
        (["--prompt=a", "--input_file=b"], "one of the two"),
        (["--prompt=a", "--prompt=b", "--stream"], "--stream shows one text"),
        (["--prompt=a", "--top_p=2"], "--top_p=2.0"),
    ],
)
def test_flags_that_make_no_sense_are_refused(checkpoint, more, message):
    with pytest.raises(ValueError, match=message):
        scripts.run("generate", *FLAGS, *more)
