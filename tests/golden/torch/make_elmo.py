"""Writes the folders of ELMoForManyLangs here with elmoformanylangs; see README.md.

PEERS_VENV/bin/python tests/golden/torch/make_elmo.py
"""

import json
import pathlib

import numpy as np
import torch
from elmoformanylangs import Embedder, biLM
from elmoformanylangs.modules.embedding_layer import EmbeddingLayer

HERE = pathlib.Path(__file__).resolve().parent
SENTENCES = [
    ["the", "naïve", "cat", "sat"],
    ["東京", "𠮷野家", "は", "the", "<S>", "unbelievable"],
    ["cat"],
    ["ideo\u3000graphic", "zoë", "sat", "<bos>", "x"],
]
WORDS = ["<oov>", "<bos>", "<eos>", "<pad>", "the", "cat", "naïve", "東京", "unbeli"]
MARKS = ["<bos>", "<eos>", "<oov>", "<pad>", "<bow>", "<eow>"]
CHARACTERS = [*"theca\u3000st<>bose東京𠮷", "ï", "n"]
CONFIG = {
    "encoder": {
        "name": "elmo",
        "projection_dim": 6,
        "cell_clip": 1.5,
        "proj_clip": 0.7,
        "dim": 9,
        "n_layers": 2,
    },
    "token_embedder": {
        "name": "cnn",
        "activation": "relu",
        "filters": [[1, 3], [2, 4], [3, 5]],
        "n_highway": 2,
        "word_dim": 5,
        "char_dim": 4,
        "max_characters_per_token": 8,
    },
    "classifier": {"name": "softmax"},
    "dropout": 0.1,
}


def lexicon(path, entries):
    """Writes a .dic as the training does; returns its entries' numbers."""
    numbers = {entry: i for i, entry in enumerate(dict.fromkeys(entries))}
    path.write_text("".join(f"{e}\t{i}\n" for e, i in numbers.items()), "utf-8")
    return numbers


def write(name, encoder, token_embedder, legacy):
    """Makes a model of random weights, and the vectors that its Embedder computes."""
    torch.manual_seed(11)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    config = CONFIG | {
        "encoder": CONFIG["encoder"] | encoder,
        "token_embedder": CONFIG["token_embedder"] | token_embedder,
    }
    # Releases name a file of their authors' machine.
    run = {"config_path": "/users/them/models/tiny.json", "max_epoch": 10, "gpu": 3}
    (folder / "config.json").write_text(json.dumps(run))
    (folder / "tiny.json").write_text(json.dumps(config, indent=1) + "\n")
    tables = []
    dims = config["token_embedder"]
    for file, entries, dim in (
        ("word.dic", WORDS, dims["word_dim"]),
        ("char.dic", CHARACTERS + MARKS, dims["char_dim"]),
    ):
        numbers = lexicon(folder / file, entries) if dim or file == "word.dic" else {}
        tables.append(EmbeddingLayer(dim, numbers) if dim else None)
    model = biLM.Model(config, *tables, len(WORDS))
    for parameter in model.parameters():  # biases, too; large enough to be clipped
        parameter.data += 0.5 * torch.randn_like(parameter)
    save = torch.save
    torch.save = lambda *args: save(*args, _use_new_zipfile_serialization=not legacy)
    model.save_model(str(folder), False)
    torch.save = save
    vectors = Embedder(str(folder)).sents2elmo(SENTENCES, -2)
    embedder = Embedder(str(folder))  # whose states go on from call to call
    after = [embedder.sents2elmo([words], -2)[0] for words in SENTENCES]
    kept = {f"{i}": x for i, x in enumerate(vectors)}
    kept |= {f"stateful/{i}": x for i, x in enumerate(after)}
    np.savez_compressed(folder / "vectors.npz", **kept)


if __name__ == "__main__":
    write("elmo", {}, {}, legacy=False)
    write(
        "elmo_characters",
        {"n_layers": 1, "cell_clip": 0},
        {"word_dim": 0, "n_highway": 1, "activation": "tanh"},
        legacy=True,
    )
    write("elmo_words", {"proj_clip": 0}, {"char_dim": 0}, legacy=True)
    (HERE / "elmo_sentences.json").write_text(json.dumps(SENTENCES) + "\n")
