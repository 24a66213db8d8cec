"""A tiny model of every system that is registered, as files."""

import dataclasses

import tiny
import tiny_elmo
import tiny_gpt
import tiny_taglm
import tiny_ulmfit
import tiny_xlm

import checkpoints
import tokenization_ulmfit
import vocabulary
from modeling.nnlm import NnlmConfig
from modeling.vectors import VectorsConfig
from systems.system import make_system


def _writes_words(config, marks=vocabulary.MARKS):
    """Returns what writes the files of a system that reads words of tiny.WORDS."""

    def write(folder):
        words = [*marks, *tiny.WORDS]
        vocab, path = folder / "vocab.txt", folder / "config.json"
        vocab.write_text("\n".join(words) + "\n")
        sized = dataclasses.replace(config, vocab_size=len(words))
        path.write_text(sized.to_json_string())
        return str(vocab), str(path)

    return write


# model_type -> what writes vocabulary and config into a folder; returns their paths.
WRITE_MODEL = {
    "bert": tiny.write_model,
    "gpt": tiny_gpt.write_model,
    "elmo": tiny_elmo.write_model,
    "taglm": _writes_words(tiny_taglm.CONFIG),
    "nnlm": _writes_words(NnlmConfig(vocab_size=9, order=3, hidden_size=4)),
    "ulmfit": _writes_words(tiny_ulmfit.CONFIG, tokenization_ulmfit.SPECIAL),
    "vectors": _writes_words(VectorsConfig(None, text_words=7, vector_size=5)),
    "xlm": tiny_xlm.write_model,
}


def make(model_type, folder):
    """Returns the tiny system, of English, with special tokens; its files are new."""
    folder.mkdir(exist_ok=True)
    vocab, config = WRITE_MODEL[model_type](folder)
    system = make_system(checkpoints.read_config(config), vocab)
    return system.match_vocabulary().with_special_tokens().in_language("en")
