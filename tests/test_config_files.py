"""Configs of sizes that no machine holds are refused by key, before any memory."""

import json

import pytest
import tiny
import tiny_elmo
import tiny_gpt

import checkpoints
from errors import UserError
from modeling import TaglmConfig

BERT, GPT, ELMO = (
    json.loads(config.to_json_string())
    for config in (tiny.CONFIG, tiny_gpt.CONFIG, tiny_elmo.CONFIG)
)
TAGLM = TaglmConfig(vocab_size=7).to_dict()
LSTM, CNN = ELMO["lstm"], ELMO["char_cnn"]


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (BERT, {"hidden_size": 3 * 10**9}, "hidden_size x hidden_size is 3000000000 x"),
        (BERT, {"vocab_size": 10**9}, "vocab_size x hidden_size is 1000000000 x 15,"),
        (BERT, {"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, wanted"),
        (BERT, {"max_position_embeddings": 10**9}, "max_position_embeddings x hidden"),
        (BERT, {"type_vocab_size": 10**39}, "type_vocab_size x hidden_size is 10000"),
        (BERT, {"intermediate_size": 10**9}, "hidden_size x intermediate_size is 15 x"),
        (BERT, {"initializer_range": 1e300}, "initializer_range is 1e.300, wanted"),
        (GPT, {"n_vocab": 10**9}, "n_vocab x n_embd is 1000000000 x 15"),
        (GPT, {"n_embd": 3 * 10**9}, "n_embd x n_embd is 3000000000 x 3000000000"),
        (GPT, {"n_ctx": 10**9}, "n_ctx x n_embd is 1000000000 x 15"),
        (GPT, {"n_layer": 1001}, "n_layer is 1001, wanted at most 1000"),
        (ELMO, {"n_tokens_vocab": 10**9}, r"n_tokens_vocab x lstm.projection_dim is"),
        (ELMO, {"lstm": LSTM | {"dim": 10**9}}, "dim x dim is 1000000000 x"),
        (ELMO, {"lstm": LSTM | {"n_layers": 2000}}, "n_layers is 2000"),
        (
            ELMO,
            {"lstm": LSTM | {"cell_clip": 1e39}},
            "cell_clip is 1e.39, wanted a pos",
        ),
        (ELMO, {"char_cnn": CNN | {"n_highway": 2000}}, "n_highway is 2000"),
        (ELMO, {"char_cnn": CNN | {"n_highway": ""}}, "n_highway is '', wanted 0 or"),
        (ELMO, {"char_cnn": CNN | {"filters": [[1, 10**9]]}}, "n_filters is"),
        (TAGLM, {"vocab_size": 10**9}, "vocab_size x word_dim is 1000000000 x 100"),
        (TAGLM, {"rnn_units": 10**9}, "word_dim x rnn_units is 100 x 1000000000"),
        (TAGLM, {"char_rnn_layers": 2000}, "char_rnn_layers is 2000"),
        (TAGLM, {"lm": None}, "lm is None, wanted an object"),
    ],
)
def test_sizes_without_measure_are_named_with_the_file(
    tmp_path, config, changes, message
):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config | changes))
    with pytest.raises(UserError, match=f"^{path}: .*{message}"):
        checkpoints.read_config(str(path))


@pytest.mark.parametrize("config", [BERT, GPT, ELMO, TAGLM])
def test_a_file_that_is_not_utf8_or_has_a_key_twice_is_named(tmp_path, config):
    path, text = tmp_path / "config.json", json.dumps(config).encode()
    path.write_bytes(text[:-1] + b', "\xff": 1}')
    with pytest.raises(UserError, match=f"^{path}: not JSON: 'utf-8' codec"):
        checkpoints.read_config(str(path))
    path.write_bytes(text[:-1] + b", " + text[1:])
    with pytest.raises(UserError, match=f"^{path}: key .* occurs more than once"):
        checkpoints.read_config(str(path))


@pytest.mark.parametrize("afn", [[], {}, None, 1])
def test_an_activation_of_another_type_is_named(tmp_path, afn):
    values = {"model_type": "openai-gpt", "vocab_size": 9, "n_positions": 7}
    values |= {"n_embd": 4, "n_layer": 1, "n_head": 2, "afn": afn}
    values |= dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.1)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=f"^{path}: afn is "):
        checkpoints.read_config(str(path))
