"""Hugging Face folders: config.json, model.safetensors (or shards), vocab.txt.

Only safetensors files are read: pytorch_model.bin is a pickle, that is, a program.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes  # noqa: F401  (teaches numpy bfloat16, for safetensors)
import numpy as np
import safetensors
import safetensors.numpy
import tensorflow as tf

from checkpoints import files, google_bert, huggingface_config
from checkpoints.mapping import (
    Checkpoint,
    CheckpointError,
    Field,
    Rule,
    Source,
    Table,
    choose_sources,
    mapped_shape,
    raise_problems,
    transpose,
)
from modeling.bert import BertConfig

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_FLOATS = ("F16", "BF16", "F32", "F64")

_FIELDS = {
    "bert": Field(r"(?:bert\.)?", "bert."),  # none in a bare BertModel
    "n": Field(r"\d+"),
    "table": Field("word|position|token_type"),
    "part": Field("query|key|value"),
    # The names of TensorFlow in files converted by early versions.
    "gamma": Field("weight|gamma", "weight"),
    "beta": Field("bias|beta", "bias"),
}


def _dense(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}.weight", f"{ours}/kernel", transpose, transpose),
        Rule(f"{theirs}.bias", f"{ours}/bias"),
    ]


def _norm(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}.{{gamma}}", f"{ours}/gamma"),
        Rule(f"{theirs}.{{beta}}", f"{ours}/beta"),
    ]


_LAYER, _OUR_LAYER = "{bert}encoder.layer.{n}.", "bert/encoder/layer_{n}/"
_MLM, _OUR_MLM = "cls.predictions.", "cls/predictions/"
TABLE = Table(
    rules=[
        Rule(
            "{bert}embeddings.{table}_embeddings.weight",
            "bert/embeddings/{table}_embeddings",
        ),
        *_norm("{bert}embeddings.LayerNorm", "bert/embeddings/LayerNorm"),
        *_dense(_LAYER + "attention.self.{part}", _OUR_LAYER + "attention/self/{part}"),
        *_dense(
            _LAYER + "attention.output.dense", _OUR_LAYER + "attention/output/dense"
        ),
        *_norm(
            _LAYER + "attention.output.LayerNorm",
            _OUR_LAYER + "attention/output/LayerNorm",
        ),
        *_dense(_LAYER + "intermediate.dense", _OUR_LAYER + "intermediate/dense"),
        *_dense(_LAYER + "output.dense", _OUR_LAYER + "output/dense"),
        *_norm(_LAYER + "output.LayerNorm", _OUR_LAYER + "output/LayerNorm"),
        *_dense("{bert}pooler.dense", "bert/pooler/dense"),
        *_dense(_MLM + "transform.dense", _OUR_MLM + "transform/dense"),
        *_norm(_MLM + "transform.LayerNorm", _OUR_MLM + "transform/LayerNorm"),
        Rule(_MLM + "bias", _OUR_MLM + "output_bias"),
        # Tied: the same tensors under a second name.
        Rule(_MLM + "decoder.bias", _OUR_MLM + "output_bias"),
        Rule(_MLM + "decoder.weight", "bert/embeddings/word_embeddings"),
        Rule("cls.seq_relationship.weight", "cls/seq_relationship/output_weights"),
        Rule("cls.seq_relationship.bias", "cls/seq_relationship/output_bias"),
        Rule("classifier.weight", "output_weights"),
        Rule("classifier.bias", "output_bias"),
        Rule("qa_outputs.weight", "cls/squad/output_weights"),
        Rule("qa_outputs.bias", "cls/squad/output_bias"),
    ],
    fields=_FIELDS,
    ignored={r"(bert\.)?embeddings\.position_ids": "a buffer: 0, 1, 2 ..."},
)


def find_weights(folder: str) -> str | None:
    """Finds the weights of a folder.

    Returns:
      The path of model.safetensors or of the shards' index; None when there is none.

    Raises:
      CheckpointError: there are both, or there is nothing but a pickle.
    """
    found = [p for p in (files.find(folder, WEIGHTS), files.find(folder, INDEX)) if p]
    if len(found) > 1:
        raise CheckpointError(
            f"{folder}: holds {WEIGHTS} and {INDEX}; name one of them"
        )
    return found[0] if found else None


def refuse_pickle(path: str) -> None:
    """Raises the CheckpointError that tells how to convert a pickle."""
    raise CheckpointError(
        f"{path}: a PyTorch pickle is a program, and is never run here. Where torch "
        "and transformers are installed, and you trust the file, "
        "`AutoModel.from_pretrained(folder).save_pretrained(new_folder)` (of "
        "AutoModelForPreTraining for one with its heads) writes model.safetensors"
    )


@dataclasses.dataclass(frozen=True)
class _Stored:
    """One tensor of a safetensors file."""

    file: str
    shape: tuple[int, ...]
    dtype: str


def open_checkpoint(path: str) -> Checkpoint:
    """Opens weights in one file or in shards.

    Args:
      path: a .safetensors file, or the index file of shards; config.json, vocab.txt
        and tokenizer_config.json are sought beside it.

    Returns:
      The checkpoint; the names are Google's, dense kernels [in, out].

    Raises:
      CheckpointError: a damaged file, shards that are not what the index says, tied
        tensors that differ.
    """
    stored = _list_shards(path) if path.endswith(".json") else _list_file(path)
    matched = TABLE.match(stored)
    sources, duplicates = choose_sources(
        matched, lambda name: _read(stored[name], name), path
    )
    folder = os.path.dirname(path)
    config, labels = _read_config(files.find(folder, CONFIG))

    def read(name: str) -> np.ndarray:
        source = sources[name]
        return source.rule.read(_read(stored[source.name], source.name))

    return Checkpoint(
        format="huggingface",
        path=path,
        shapes={
            name: mapped_shape(stored[source.name].shape, source.rule)
            for name, source in sources.items()
        },
        ignored={**matched.ignored, **duplicates},
        unknown={name: stored[name].shape for name in matched.unknown},
        vocab_tensors=google_bert.VOCAB_TENSORS,
        config=config,
        vocab_file=files.find(folder, files.VOCAB),
        do_lower_case=files.read_do_lower_case(folder),
        labels=labels,
        reader=read,
    )


def _read_config(
    path: str | None,
) -> tuple[BertConfig | None, tuple[str, ...] | None]:
    if path is None:
        return None, None
    values = files.read_json(path)
    return (
        huggingface_config.from_dict(values, path),
        huggingface_config.labels(values, path),
    )


def _open(path: str) -> Any:
    try:
        return safetensors.safe_open(path, framework="np")
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: not a safetensors file: {error}") from None


def _list_file(path: str) -> dict[str, _Stored]:
    stored = {}
    with _open(path) as reader:
        for name in reader.keys():  # noqa: SIM118  (not a dict)
            part = reader.get_slice(name)
            stored[name] = _Stored(path, tuple(part.get_shape()), part.get_dtype())
    return stored


def _list_shards(index: str) -> dict[str, _Stored]:
    weight_map = files.read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: has no weight_map")
    stored, problems = {}, []
    for shard in sorted(set(weight_map.values())):
        if os.path.basename(shard) != shard:
            raise CheckpointError(f"{index}: {shard!r} is not the name of a file here")
        found = _list_file(os.path.join(os.path.dirname(index), shard))
        wanted = {name for name, file in weight_map.items() if file == shard}
        problems += [
            f"missing: {n} is not in {shard}" for n in sorted(wanted - set(found))
        ]
        problems += [
            f"extra: {n} of {shard} is not listed" for n in sorted(set(found) - wanted)
        ]
        stored.update(found)
    raise_problems(problems, index)
    return stored


def _read(stored: _Stored, name: str) -> np.ndarray:
    if stored.dtype not in _FLOATS:
        raise CheckpointError(
            f"{stored.file}: {name} is {stored.dtype}, wanted one of {_FLOATS}"
        )
    with _open(stored.file) as reader:
        return reader.get_tensor(name).astype(np.float32)


def save(
    folder: str,
    tensors: Mapping[str, np.ndarray],
    config: BertConfig,
    vocab_file: str | None,
    do_lower_case: bool | None,
    *,
    labels: Sequence[str] | None = None,
    max_shard_bytes: int = 5_000_000_000,
) -> None:
    """Writes a folder that transformers' `from_pretrained` loads.

    Weights come last, the index of shards after its shards: a folder that was not
    finished is not taken for a model.

    Args:
      folder: holds no weights yet.
      tensors: Google's name -> float32 array.
      config: the model's.
      vocab_file: to copy; None for none.
      do_lower_case: what the tokenizer must do; None if not known.
      labels: the classifier's in order; LABEL_0, LABEL_1 ... when not given.
      max_shard_bytes: weights beyond that are split, whole tensors to a file.

    Raises:
      CheckpointError: the folder has weights; tensors that Hugging Face has no name
        for; as many labels as the classifier has not.
    """
    architecture = _architecture(tensors)
    targets = _targets(tensors, architecture, folder)
    labels = _check_labels(tensors, labels)
    for name in (WEIGHTS, INDEX):
        if files.find(folder, name):
            raise CheckpointError(f"{folder}: already holds {name}; not replaced")
    tf.io.gfile.makedirs(folder)
    values = huggingface_config.to_dict(config, architecture, labels)
    files.write_json(os.path.join(folder, CONFIG), values)
    files.write_tokenizer(
        folder, vocab_file, do_lower_case, config.max_position_embeddings
    )
    shards = _plan_shards(tensors, max_shard_bytes)
    if len(shards) == 1:
        _write(os.path.join(folder, WEIGHTS), shards[0], tensors, targets)
        return
    weight_map = {}
    for i, names in enumerate(shards, start=1):
        shard = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
        _write(os.path.join(folder, shard), names, tensors, targets)
        weight_map.update({targets[name].name: shard for name in names})
    size = sum(4 * tensors[name].size for name in tensors)
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    files.write_json(os.path.join(folder, INDEX), index)


def _architecture(tensors: Mapping[str, np.ndarray]) -> str:
    """Returns the class whose layout has these tensors."""
    heads = {
        part
        for part in (
            "cls/predictions/",
            "cls/seq_relationship/",
            "cls/squad/",
            "output_",
        )
        if any(name.startswith(part) for name in tensors)
    }
    if heads == {"cls/squad/"}:
        return "BertForQuestionAnswering"
    if heads == {"output_"}:
        pooled = "bert/pooler/dense/kernel" in tensors
        return f"BertFor{'Sequence' if pooled else 'Token'}Classification"
    if heads & {"output_", "cls/squad/"} and len(heads) > 1:
        raise CheckpointError(
            f"tensors of several heads ({', '.join(sorted(heads))}): no Hugging Face "
            "class has them together"
        )
    if len(heads) == 2:
        return "BertForPreTraining"
    if "cls/predictions/" in heads:
        return "BertForMaskedLM"
    return "BertForNextSentencePrediction" if heads else "BertModel"


def _targets(
    tensors: Mapping[str, np.ndarray], architecture: str, folder: str
) -> dict[str, Source]:
    chosen = {"bert": ""} if architecture == "BertModel" else {}
    targets = {name: TABLE.target(name, **chosen) for name in sorted(tensors)}
    problems = [
        f"{name}: Hugging Face's {architecture} has no such tensor"
        for name, target in targets.items()
        if target is None
    ]
    raise_problems(problems, folder)
    return targets


def _check_labels(
    tensors: Mapping[str, np.ndarray], labels: Sequence[str] | None
) -> Sequence[str] | None:
    if "output_bias" not in tensors:
        return None
    size = len(tensors["output_bias"])
    if labels is None:
        return [f"LABEL_{i}" for i in range(size)]
    if len(labels) != size:
        raise CheckpointError(
            f"got {len(labels)} labels, wanted the classifier's {size}"
        )
    return labels


def _plan_shards(
    tensors: Mapping[str, np.ndarray], max_shard_bytes: int
) -> list[list[str]]:
    shards, size = [[]], 0
    for name in sorted(tensors):
        size += 4 * tensors[name].size
        if shards[-1] and size > max_shard_bytes:
            shards.append([])
            size = 4 * tensors[name].size
        shards[-1].append(name)
    return shards


def _write(
    path: str,
    names: Sequence[str],
    tensors: Mapping[str, np.ndarray],
    targets: Mapping[str, Source],
) -> None:
    values = {}
    for name in names:
        value = np.asarray(tensors[name], np.float32)
        # safetensors writes the buffer as it lies: a transposed view would be wrong.
        values[targets[name].name] = np.ascontiguousarray(
            targets[name].rule.write(value)
        )
    # transformers refuses a file that does not say "pt".
    data = safetensors.numpy.save(values, metadata={"format": "pt"})
    with tf.io.gfile.GFile(files.aside(path), "wb") as writer:
        writer.write(data)
    tf.io.gfile.rename(files.aside(path), path, overwrite=True)
