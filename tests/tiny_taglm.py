"""TagLM small enough to train in seconds, and a language model for it to read."""

import numpy as np
import tiny_elmo
import tiny_tagging

import modeling
from checkpoints import bilm
from modeling import ElmoModel, TaglmConfig

CONFIG = TaglmConfig(
    vocab_size=33,
    word_dim=10,
    char_dim=5,
    char_filters=7,
    max_characters_per_token=9,
    rnn_units=12,
    dropout=0.1,
)


def write_lm(folder, options=tiny_elmo.CONFIG):
    """Writes the folder of a language model with random weights; returns its path."""
    model = ElmoModel(options, seed=8)
    tensors = {n: v.numpy() for n, v in modeling.named_variables(model).items()}
    bilm.save(str(folder / "lm"), tensors, options, None, None)
    return str(folder / "lm")


def write_vectors(path, words, width=6):
    """Writes vectors in word2vec's format; returns them."""
    vectors = np.random.default_rng(5).normal(size=[len(words), width]).round(3)
    rows = [
        f"{word} {' '.join(map(str, vector))}"
        for word, vector in zip(words, vectors, strict=True)
    ]
    path.write_text("\n".join([f"{len(words)} {width}", *rows]) + "\n")
    return vectors.astype(np.float32)


def flags(folder, output, **sizes):
    """Writes data and config; returns run_tagger.py's flags for them."""
    (folder / "taglm_config.json").write_text(CONFIG.to_json_string())
    ours = ("--vocab_file", "--bert_config_file", "--learning_rate")
    kept = [
        f for f in tiny_tagging.flags(folder, output, **sizes) if not f.startswith(ours)
    ]
    return [
        *kept,
        "--model_type=taglm",
        "--learning_rate=3e-2",
        f"--config_file={folder / 'taglm_config.json'}",
        "--crf",
        "--optimizer=adamw",
        "--weight_decay=0",
        "--learning_rate_decay=constant",
        "--max_grad_norm=5",
    ]
