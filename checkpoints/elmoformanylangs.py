"""ELMo for many languages (HIT-SCIR/ELMoForManyLangs): folders of torch's files.

config.json tells how the model was trained, and in `config_path` where its architecture
is; encoder.pkl has the LSTMs, token_embedder.pkl what reads a word; word.dic and
char.dic number words and characters.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import json_files
import lexicon
from checkpoints import bilm, files, torch_files
from checkpoints.foreign import Format
from checkpoints.mapping import (
    Checkpoint,
    CheckpointError,
    identity,
    raise_problems,
    transpose,
)
from checkpoints.torch_files import Tensor
from errors import UserError
from modeling.config_files import check_keys
from modeling.elmo import SCOPE
from modeling.elmo_config import ElmoConfig, LstmOptions
from modeling.layers.lstm import FORGET_BIAS

CONFIG = "config.json"
ENCODER, TOKENS = "encoder.pkl", "token_embedder.pkl"

_WORD_TABLE = "word_emb_layer.embedding.weight"
_CHARACTER_TABLE = "char_emb_layer.embedding.weight"
_ENCODER_KEYS = ("name", "projection_dim", "cell_clip", "proj_clip", "dim", "n_layers")
_TOKENS_KEYS = ("name", "activation", "filters", "n_highway", "word_dim", "char_dim")
_TOKENS_KEYS += ("max_characters_per_token",)

# Of the releases, few of which have the file that their config.json names.
_RELEASED_FILE = "cnn_50_100_512_4096_sample.json"
_RELEASED = {
    "encoder": {
        "name": "elmo",
        "projection_dim": 512,
        "cell_clip": 3,
        "proj_clip": 3,
        "dim": 4096,
        "n_layers": 2,
    },
    "token_embedder": {
        "name": "cnn",
        "activation": "relu",
        "filters": [[1, 32], [2, 32], [3, 64], [4, 128], [5, 256], [6, 512], [7, 1024]],
        "n_highway": 2,
        "word_dim": 100,
        "char_dim": 50,
        "max_characters_per_token": 50,
    },
    "classifier": {"name": "sampled_softmax", "n_samples": 8192},
    "dropout": 0.1,
}


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where one of our tensors comes from.

    Attributes:
      shapes: name in the files -> shape that it must have.
      make: ours from these.
    """

    shapes: Mapping[str, tuple[int, ...]]
    make: Callable[..., np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what `make` makes."""
        blanks = (np.broadcast_to(np.int8(0), shape) for shape in self.shapes.values())
        return self.make(*blanks).shape


def is_part(names: Iterable[str]) -> bool:
    """Tells by the names of its tensors whether a file is one of the two of a model."""
    marks = ("forward_layer_0.", "word_emb_layer.", "char_emb_layer.")
    return any(name.startswith(marks) for name in names)


def open_checkpoint(folder: str) -> Checkpoint:
    """Opens a model, which goes by bilm-tf's names; nothing in the files is executed.

    Args:
      folder: of config.json, encoder.pkl, token_embedder.pkl, word.dic and char.dic,
        and of the file that `config_path` names, wherever that says it is; the
        architecture of the releases is known without it.

    Returns:
      The checkpoint; no tensor has been read.

    Raises:
      CheckpointError: a file is missing or damaged, tensors are missing or not of the
        shapes that the architecture has.
      UserError: the architecture has a key that is unknown, missing or impossible.
    """
    folder = folder or "."
    stored: dict[str, Tensor] = {}
    ignored: dict[str, str] = {}
    for name in (ENCODER, TOKENS):
        path = files.find(folder, name)
        if path is None:
            raise CheckpointError(f"{folder}: {name} is missing")
        tensors, others = torch_files.list_tensors(path)
        stored |= tensors
        ignored |= others
    config = _with_sizes(_read_config(folder), stored)
    sources = dict(_sources(config))
    _check_shapes(sources, stored, folder)
    used = {name for source in sources.values() for name in source.shapes}

    def read(ours: str) -> np.ndarray:
        source = sources[ours]
        return source.make(*(stored[name].read(name) for name in source.shapes))

    return Checkpoint(
        format=FORMAT.name,
        path=folder,
        shapes={name: source.shape for name, source in sources.items()},
        ignored=ignored,
        unknown={n: tensor.shape for n, tensor in stored.items() if n not in used},
        vocab_tensors=bilm.VOCAB_TENSORS,
        config=config,
        vocab_file=next(iter(lexicon.beside(os.path.join(folder, CONFIG))), None),
        do_lower_case=False,
        outputs=None,
        reader=read,
    )


def _read_config(folder: str) -> ElmoConfig:
    path = files.find(folder, CONFIG)
    if path is None:
        raise CheckpointError(f"{folder}: {CONFIG} is missing")
    named = json_files.read_object(path).get("config_path")
    if not isinstance(named, str):
        raise CheckpointError(f"{path}: config_path is {named!r}, wanted a file's name")
    name = os.path.basename(named)
    found = name and files.find(folder, name)
    if found:
        return from_dict(json_files.read_object(found), found)
    if name == _RELEASED_FILE:
        return from_dict(_RELEASED, name)
    raise CheckpointError(
        f"{path}: config_path is {named!r}, but there is no {name} in {folder}: put "
        "the architecture there"
    )


def from_dict(values: Mapping[str, Any], source: str) -> ElmoConfig:
    """Builds a config from the keys of ELMoForManyLangs.

    Args:
      values: the content of the file that config_path names.
      source: the file, for messages.

    Returns:
      The config, but for the sizes of its lexicon.

    Raises:
      UserError: an unknown or missing key or an impossible value, or another kind of
        model than ELMo with convolutions; names `source` and the key.
    """
    check_keys(values, ["encoder", "token_embedder", "dropout"], ["classifier"], source)
    encoder = _section(values, "encoder", "elmo", _ENCODER_KEYS, source)
    tokens = _section(values, "token_embedder", "cnn", _TOKENS_KEYS, source)
    lstm = {key: encoder[key] for key in ("dim", "projection_dim", "n_layers")}
    for key in ("cell_clip", "proj_clip"):
        lstm[key] = None if _is_none(encoder[key]) else encoder[key]
    longest = {key: tokens[key] for key in ("max_characters_per_token",)}
    options = {
        "lstm": lstm | {"use_skip_connections": True},
        "lexicon": longest | {"word_dim": tokens["word_dim"]},
        "dropout": values["dropout"],
    }
    if not _is_none(tokens["char_dim"]):
        keys = ("filters", "activation", "n_highway")
        cnn = {key: tokens[key] for key in keys} | longest
        options["char_cnn"] = cnn | {"embedding": {"dim": tokens["char_dim"]}}
    return ElmoConfig.from_dict(options, source)


def _is_none(value: Any) -> bool:
    """Tells whether a size or limit is left out, for which 0 stands as well."""
    return value is None or (type(value) in (int, float) and value == 0)


def _section(
    values: Mapping[str, Any], key: str, kind: str, keys: Sequence[str], source: str
) -> Mapping[str, Any]:
    section = json_files.check_object(values[key], f"{source}: {key}")
    check_keys(section, keys, (), f"{source}: {key}")
    if section["name"] != kind:
        raise UserError(
            f"{source}: {key} is of the kind {section['name']!r}, wanted {kind!r}, "
            "that of the releases"
        )
    return section


def _with_sizes(config: ElmoConfig, stored: Mapping[str, Tensor]) -> ElmoConfig:
    """Returns the config with as many words and characters as there are vectors."""
    tables = {"n_words": _WORD_TABLE, "n_characters": _CHARACTER_TABLE}
    sizes = {
        key: stored[name].shape[0] for key, name in tables.items() if name in stored
    }
    return dataclasses.replace(
        config, lexicon=dataclasses.replace(config.lexicon, **sizes)
    )


def _gates(weight: np.ndarray) -> np.ndarray:
    """Puts torch's order of the gates, i, f, j, o, into TensorFlow's: i, j, f, o."""
    i, f, j, o = np.split(weight, 4)
    return np.concatenate([i, j, f, o])


def _kernel(inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    return np.concatenate([_gates(inputs).T, _gates(outputs).T])


def _bias(bias: np.ndarray) -> np.ndarray:
    i, f, j, o = np.split(bias, 4)
    return np.concatenate([i, j, f - FORGET_BIAS, o])  # added when running


def _filter(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(2, 1, 0)[None]


def _transform(weight: np.ndarray) -> np.ndarray:
    return np.split(weight, 2)[0].T


def _carry(weight: np.ndarray) -> np.ndarray:
    """Theirs opens the gate for the input, ours for its transformation."""
    return -np.split(weight, 2)[1].T


def _sources(config: ElmoConfig) -> Iterator[tuple[str, _Source]]:
    """Yields our names, and what the files have for each."""
    yield from _lstm_sources(config.lstm)
    if config.word_table:
        yield f"{SCOPE}/embedding", _Source({_WORD_TABLE: config.word_table}, identity)
    if config.char_cnn:
        yield from _cnn_sources(config)
    width, units = config.token_width, config.lstm.projection_dim
    shapes = {"W": {"projection.weight": (units, width)}}
    shapes["b"] = {"projection.bias": (units,)}
    for part, shape in shapes.items():
        yield f"{SCOPE}/CNN_proj/{part}_proj", _Source(shape, transpose)


def _lstm_sources(lstm: LstmOptions) -> Iterator[tuple[str, _Source]]:
    gates, units = 4 * lstm.dim, lstm.projection_dim
    for direction, side in enumerate(("forward", "backward")):
        for layer in range(lstm.n_layers):
            theirs = f"{side}_layer_{layer}."
            ours = bilm.cell_scope(direction, layer, lstm.n_layers)
            shapes = {
                f"{theirs}input_linearity.weight": (gates, units),
                f"{theirs}state_linearity.weight": (gates, units),
            }
            yield f"{ours}kernel", _Source(shapes, _kernel)
            shapes = {f"{theirs}state_linearity.bias": (gates,)}
            yield f"{ours}bias", _Source(shapes, _bias)
            shapes = {f"{theirs}state_projection.weight": (units, lstm.dim)}
            yield f"{ours}projection/kernel", _Source(shapes, transpose)


def _cnn_sources(config: ElmoConfig) -> Iterator[tuple[str, _Source]]:
    cnn, width = config.char_cnn, config.char_cnn.n_filters
    table = {_CHARACTER_TABLE: config.character_table}
    yield f"{SCOPE}/char_embed", _Source(table, identity)
    for i, (size, number) in enumerate(cnn.filters):
        shape = {f"convolutions.{i}.weight": (number, cnn.embedding_dim, size)}
        yield f"{SCOPE}/CNN/W_cnn_{i}", _Source(shape, _filter)
        shape = {f"convolutions.{i}.bias": (number,)}
        yield f"{SCOPE}/CNN/b_cnn_{i}", _Source(shape, identity)
    for i in range(cnn.n_highway):
        for part, tail in (("weight", (width,)), ("bias", ())):
            shape = {f"highways._layers.{i}.{part}": (2 * width, *tail)}
            ours = f"{SCOPE}/CNN_high_{i}/{part[0].replace('w', 'W')}_"
            yield f"{ours}transform", _Source(shape, _transform)
            yield f"{ours}carry", _Source(shape, _carry)


def _check_shapes(
    sources: Mapping[str, _Source], stored: Mapping[str, Tensor], folder: str
) -> None:
    wanted = {}
    for source in sources.values():
        wanted |= source.shapes
    problems = [f"missing: {name}" for name in wanted if name not in stored]
    problems += [
        f"wrong shape: {name} is {list(stored[name].shape)}, but the architecture has "
        f"{list(shape)}"
        for name, shape in wanted.items()
        if name in stored and stored[name].shape != shape
    ]
    raise_problems(problems, folder)


FORMAT = Format(
    "elmoformanylangs",
    wanted=f"ELMoForManyLangs ({ENCODER})",
    open=lambda path: open_checkpoint(os.path.dirname(path)),
    find=lambda folder: files.find(folder, ENCODER),
    is_tensors=is_part,
)
