"""ULMFiT's folders, and fastai's files of it: torch's, with the words in a list beside.

    0.encoder.weight                          the embeddings; 1.decoder.weight is equal
    0.rnns.k.weight_hh_l0_raw                 the LSTMs: gates in the order i, f, j, o;
    0.rnns.k.module.{weight_ih_l0, bias_*}    two biases, which are added
    1.decoder.bias                            not in the files of 2018 (fastai 0.7)
    1.layers.*                                a classifier's head

Encoders alone lack the first `0.`, classifiers have `0.module.`; in files of 2018 the
raw weight is one of `module`, too. How wide the layers are, the weights tell.
"""

import dataclasses
import json
import os
import re
from collections.abc import Callable, Collection, Mapping

import numpy as np
import tensorflow as tf

import json_files
import tokenization_ulmfit
from checkpoints import files, safetensors_files, state_dicts, torch_pickles
from checkpoints.foreign import Format
from checkpoints.mapping import (
    Checkpoint,
    CheckpointError,
    Field,
    Rule,
    Table,
    check_shape,
    raise_problems,
)
from checkpoints.own_folders import OwnFolders
from modeling.ulmfit import SCOPE, UlmfitConfig

EMBEDDING, DECODER_BIAS = f"{SCOPE}/embedding", f"{SCOPE}/decoder_bias"
VOCAB_TENSORS = frozenset({EMBEDDING, DECODER_BIAS})
ITOS = "itos.json"
_MAX_SHARD_BYTES = 5 << 30
_QRNN = re.compile(r".*rnns\.\d+\.layers\.")
_LAYER = re.compile(rf"{SCOPE}/rnn_(\d+)/")
# Parts of our tensors, as the files have them.
_PARTS = ("inputs", "outputs", "input_bias", "output_bias")
_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "running_mean",
    "running_var": "running_var",
}


def _rules() -> list[Rule]:
    rules = [
        Rule("{p}encoder.weight", EMBEDDING),
        Rule("{p}encoder_dp.emb.weight", EMBEDDING),
        Rule("{p}encoder_with_dropout.embed.weight", EMBEDDING),
        Rule("1.decoder.weight", EMBEDDING),
        Rule("1.decoder.bias", DECODER_BIAS),
    ]
    for theirs, ours in (
        ("weight_hh_l0_raw", "outputs"),
        ("module.weight_hh_l0_raw", "outputs"),
        ("module.weight_ih_l0", "inputs"),
        ("module.bias_ih_l0", "input_bias"),
        ("module.bias_hh_l0", "output_bias"),
    ):
        rules.append(Rule(f"{{p}}rnns.{{n}}.{theirs}", f"{SCOPE}/rnn_{{n}}/{ours}"))
    # Of fastai v1 all in one row, of v2 in two blocks, which may be without dropout.
    for norm, places in (("norm_1", ("0", "0.0")), ("norm_2", ("4", "1.0"))):
        for place in places:
            for theirs, ours in _NORM.items():
                rules.append(
                    Rule(f"1.layers.{place}.{theirs}", f"classifier/{norm}/{ours}")
                )
    for layer, places in (
        ("hidden", ("2", "0.1", "0.2")),
        ("output", ("6", "1.1", "1.2")),
    ):
        for place in places:
            for part in ("weight", "bias"):
                ours = "weights" if part == "weight" else part
                rules.append(
                    Rule(
                        f"1.layers.{place}.{part}", f"classifier/{layer}/output_{ours}"
                    )
                )
    return rules


TABLE = Table(
    rules=_rules(),
    fields={
        "p": Field(r"(?:0\.)?(?:module\.)?", "0."),
        "n": Field(r"\d+"),
    },
    ignored={
        r".*rnns\.\d+\.module\.weight_hh_l0": "what was left of the raw weight, which "
        "counts, after a batch",
        r".*num_batches_tracked": "a count of batches",
    },
)


def is_tensors(names: Collection[str]) -> bool:
    """Tells fastai's language models by the names of their tensors."""
    return any(re.search(r"(^|\.)rnns\.\d+\.", name) for name in names) and any(
        re.fullmatch(r"(0\.)?(module\.)?encoder\.weight", name) for name in names
    )


def open_checkpoint(path: str) -> Checkpoint:
    """Opens a file of fastai's, or of ours in that form; nothing in it is executed.

    Args:
      path: of torch.save or safetensors. The words are sought beside it: itos.json, or
        the one file itos*.pkl.

    Returns:
      The checkpoint; its names are ours.

    Raises:
      CheckpointError: damaged, a QRNN, tensors missing, or a softmax that is not the
        embeddings.
    """
    stored, ignored = state_dicts.list_tensors(path)
    if any(map(_QRNN.match, stored)):
        raise CheckpointError(
            f"{path}: its layers are QRNNs, as MultiFiT's; wanted LSTMs"
        )
    parts = state_dicts.open_checkpoint(
        path,
        TABLE,
        vocab_tensors=VOCAB_TENSORS,
        config=None,
        vocab_file=_find_words(os.path.dirname(path)),
        do_lower_case=None,
        outputs=files.read_outputs(os.path.dirname(path)),
    )
    joined = join(parts)
    config_file = files.find(os.path.dirname(path), FILES.CONFIG)
    config = _config(joined)
    if config_file is not None:
        config = UlmfitConfig.from_json_file(config_file)
    return dataclasses.replace(joined, format=FORMAT.name, config=config)


def join(parts: Checkpoint) -> Checkpoint:
    """Returns a checkpoint of our tensors, of one with the parts that files have.

    Raises:
      CheckpointError: a layer lacks a part.
    """
    shapes = dict(parts.shapes)
    made: dict[str, Callable[[], np.ndarray]] = {}
    problems = []
    layers = {int(found[1]) for found in map(_LAYER.match, shapes) if found}
    for layer in sorted(layers):
        start = f"{SCOPE}/rnn_{layer}/"
        found = {part: shapes.pop(start + part, None) for part in _PARTS}
        missing = [part for part, shape in found.items() if shape is None]
        if missing:
            problems.append(f"missing: {', '.join(start + part for part in missing)}")
            continue
        shapes[f"{start}kernel"] = (
            found["inputs"][1] + found["outputs"][1],
            found["inputs"][0],
        )
        shapes[f"{start}bias"] = found["input_bias"]
        made[f"{start}kernel"] = _reader(parts, start, _PARTS[:2], _kernel)
        made[f"{start}bias"] = _reader(parts, start, _PARTS[2:], _bias)
    raise_problems(problems, parts.path)
    for layer in ("hidden", "output"):  # of v2 without a bias
        weights = shapes.get(f"classifier/{layer}/output_weights")
        bias = f"classifier/{layer}/output_bias"
        if weights and bias not in shapes:
            shapes[bias] = weights[:1]
            made[bias] = lambda size=weights[:1]: np.zeros(size, np.float32)
    for name in [n for n in shapes if n not in made]:
        made[name] = lambda name=name: parts.reader(name)
    return dataclasses.replace(parts, shapes=shapes, reader=lambda name: made[name]())


def _reader(parts, start, names, make):
    return lambda: make(*(parts.reader(start + name) for name in names))


def _gates(x: np.ndarray) -> np.ndarray:
    """Puts torch's order of the gates, i, f, j, o, into ours, i, j, f, o; and back."""
    i, f, j, o = np.split(x, 4)
    return np.concatenate([i, j, f, o])


def _kernel(inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    return np.concatenate([_gates(inputs).T, _gates(outputs).T])


def _bias(of_inputs: np.ndarray, of_outputs: np.ndarray) -> np.ndarray:
    return _gates(of_inputs + of_outputs)


def _config(checkpoint: Checkpoint) -> UlmfitConfig:
    """Returns the architecture that the weights show."""
    shapes = checkpoint.shapes
    if EMBEDDING not in shapes or f"{SCOPE}/rnn_0/bias" not in shapes:
        raise CheckpointError(f"{checkpoint.path}: no encoder.weight and rnns.0 in it")
    vocab_size, embedding_size = shapes[EMBEDDING]
    config = UlmfitConfig(
        vocab_size=vocab_size,
        embedding_size=embedding_size,
        hidden_size=shapes[f"{SCOPE}/rnn_0/bias"][0] // 4,
        num_layers=sum(_LAYER.match(n) is not None for n in shapes) // 2,
    )
    hidden = shapes.get("classifier/hidden/output_bias")
    if hidden is not None:
        config = dataclasses.replace(config, classifier_size=hidden[0])
    return config


def _find_words(folder: str) -> str | None:
    """Returns the file of the words beside weights; None: there is none."""
    folder = folder or "."
    pickles = sorted(
        name
        for name in tf.io.gfile.listdir(folder)
        if name.startswith("itos") and name.endswith(".pkl")
    )
    if files.find(folder, ITOS):
        return os.path.join(folder, ITOS)
    if len(pickles) > 1:
        raise CheckpointError(
            f"{folder}: holds {' and '.join(pickles)}; name one by --vocab_file"
        )
    return os.path.join(folder, pickles[0]) if pickles else None


def read_words(path: str) -> list[str]:
    """Reads a vocabulary: a word a line, or a list in JSON or in a pickle.

    Args:
      path: whose ending, .json or .pkl, tells its form; nothing in it is executed.

    Raises:
      MissingFile, UserError: no such file, no list of strings, a pickle that holds
        anything else, or a word that is there twice.
    """
    if path.endswith(".pkl"):
        words = _unpickled(path)
    elif path.endswith(".json"):
        words = json_files.read(path)
    else:
        return tokenization_ulmfit.read_words(path)
    if type(words) is not list or not all(type(word) is str for word in words):
        raise CheckpointError(f"{path}: wanted a list of strings, the words by id")
    tokenization_ulmfit.check_words(words, path)
    return words


def _unpickled(path):
    def refuse(identity):
        raise CheckpointError(f"{path}: a tensor where a list of words was wanted")

    with tf.io.gfile.GFile(path, "rb") as file:
        return torch_pickles.load(file, path, {}, refuse)


def save(
    folder: str, tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint
) -> None:
    """Writes model.safetensors with fastai v1's names, itos.json and the config.

    Args:
      folder: exists.
      tensors: our name -> float32 array.
      checkpoint: with config and vocabulary.
    """
    has_head = any(name.startswith("classifier/") for name in tensors)
    prefix = "0.module." if has_head else "0."
    found = {}
    for name, value in split(tensors).items():
        target = TABLE.target(name, p=prefix)
        if target is None:
            raise CheckpointError(f"fastai's files have no place for {name}")
        found[target.name] = value
    embedding = tensors[EMBEDDING]
    found[f"{prefix}encoder_dp.emb.weight"] = embedding
    if has_head:
        found.pop("1.decoder.bias", None)
    else:
        found["1.decoder.weight"] = embedding
    safetensors_files.save(folder, found, _MAX_SHARD_BYTES)
    words = read_words(checkpoint.vocab_file)
    text = json.dumps(words, ensure_ascii=False, indent=0) + "\n"
    files.write_text(os.path.join(folder, ITOS), text)
    FILES.save_config(folder, checkpoint.config)


def split(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of `join`: all of a bias is that of the inputs."""
    found = {}
    for name, value in tensors.items():
        layer = _LAYER.match(name)
        if layer is None:
            found[name] = value
            continue
        if name.endswith("/kernel"):
            units = value.shape[1] // 4
            inputs, outputs = (_gates(x.T) for x in np.split(value, [-units]))
            found |= {f"{layer[0]}inputs": inputs, f"{layer[0]}outputs": outputs}
        else:
            found[f"{layer[0]}input_bias"] = _gates(value)
            found[f"{layer[0]}output_bias"] = np.zeros_like(value)
    return found


class UlmfitFolders(OwnFolders):
    """Training folders, where the words are vocab.txt, whatever file they came from."""

    def check(self, checkpoint: Checkpoint) -> None:
        """Checks that config and words are of these weights.

        Raises:
          CheckpointError: they have other sizes; tells both, and what helps.
        """
        config = checkpoint.config
        shape = (config.vocab_size, config.embedding_size)
        check_shape(checkpoint, EMBEDDING, shape, "vocab_size and embedding_size")
        if checkpoint.vocab_file is None:
            return
        words = len(read_words(checkpoint.vocab_file))
        rows = checkpoint.shapes.get(EMBEDDING, shape)[0]
        if words != rows:
            raise CheckpointError(
                f"{checkpoint.vocab_file} has {words} words, but {checkpoint.path} has "
                f"vectors of {rows}: they do not belong together"
            )

    def save_beside(
        self,
        folder: str,
        config: UlmfitConfig,
        vocab_file: str | None,
        do_lower_case: bool | None,
    ) -> None:
        """As OwnFolders'; a list of words becomes vocab.txt."""
        del do_lower_case
        self.save_config(folder, config)
        if vocab_file is not None:
            text = tokenization_ulmfit.file_text(read_words(vocab_file))
            files.write_text(os.path.join(folder, files.VOCAB), text)


FILES = UlmfitFolders("ulmfit", UlmfitConfig, VOCAB_TENSORS)
FORMAT = Format(
    "fastai",
    wanted="fastai's language models (lstm_fwd.pth, fwd_wt103.h5)",
    open=open_checkpoint,
    is_tensors=is_tensors,
    save=save,
)
