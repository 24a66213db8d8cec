"""Hugging Face's BERT: config.json, model.safetensors or shards, vocab.txt."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

import json_files
from checkpoints import (
    files,
    google_bert,
    huggingface_config,
    safetensors_files,
    state_dicts,
)
from checkpoints.foreign import Format
from checkpoints.mapping import (
    Checkpoint,
    CheckpointError,
    Field,
    Rule,
    Source,
    Table,
    raise_problems,
    transpose,
)
from modeling.bert_config import BertConfig

CONFIG = "config.json"

FIELDS = {
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
RULES = [
    Rule(
        "{bert}embeddings.{table}_embeddings.weight",
        "bert/embeddings/{table}_embeddings",
    ),
    *_norm("{bert}embeddings.LayerNorm", "bert/embeddings/LayerNorm"),
    *_dense(_LAYER + "attention.self.{part}", _OUR_LAYER + "attention/self/{part}"),
    *_dense(_LAYER + "attention.output.dense", _OUR_LAYER + "attention/output/dense"),
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
    Rule("qa_outputs.weight", "cls/squad/output_weights"),
    Rule("qa_outputs.bias", "cls/squad/output_bias"),
]
IGNORED = {r"(bert\.)?embeddings\.position_ids": "a buffer: 0, 1, 2 ..."}


def _table(head: str) -> Table:
    """The table of models whose `classifier` is the head with this name here."""
    classifier = [
        Rule("classifier.weight", f"{head}output_weights"),
        Rule("classifier.bias", f"{head}output_bias"),
    ]
    return Table([*RULES, *classifier], FIELDS, IGNORED)


_EMISSIONS = "tagger/emissions/"
TABLE = _table("")
TAGGER_TABLE = _table(_EMISSIONS)


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
    folder = os.path.dirname(path)
    fields = beside(folder)
    outputs = fields["outputs"]
    table = TAGGER_TABLE if outputs and outputs.kind == "tagging" else TABLE
    return state_dicts.open_checkpoint(path, table, **fields)


def beside(folder: str) -> dict[str, Any]:
    """Returns what a folder has beside Hugging Face's weights, as Checkpoint's fields.

    Of config.json and bert_config.json, which their first releases had instead, the
    first is taken; in both `gelu` is what their library computes, the erf form.
    """
    found: dict[str, Any] = {"config": None, "outputs": None}
    path, old = (files.find(folder, name) for name in (CONFIG, google_bert.CONFIG))
    if path:
        values = json_files.read_object(path)
        found["config"] = huggingface_config.from_dict(values, path)
        found["outputs"] = huggingface_config.outputs(values, path)
    elif old:
        found["config"] = huggingface_config.from_google(
            json_files.read_object(old), old
        )
    return found | {
        "vocab_tensors": google_bert.VOCAB_TENSORS,
        "vocab_file": files.find(folder, files.VOCAB),
        "do_lower_case": files.read_do_lower_case(folder),
    }


def save(
    folder: str,
    tensors: Mapping[str, np.ndarray],
    config: BertConfig,
    vocab_file: str | None,
    do_lower_case: bool | None,
    *,
    labels: Sequence[str] | None = None,
    kind: str | None = None,
    max_shard_bytes: int = 5_000_000_000,
) -> None:
    """Writes a folder that transformers' `from_pretrained` loads.

    Weights come last, the index of shards after its shards: a folder that was not
    finished is not taken for a model. A tagger is written without the pooler, which is
    no part of it.

    Args:
      folder: holds no weights yet.
      tensors: Google's name -> float32 array.
      config: the model's.
      vocab_file: to copy; None for none.
      do_lower_case: what the tokenizer must do; None if not known.
      labels: the classifier's, or the tagger's, in order; LABEL_0, LABEL_1 ... when
        not given.
      kind: what a classifier decides, see `Outputs`; None when it is not known.
      max_shard_bytes: weights beyond that are split, whole tensors to a file.

    Raises:
      CheckpointError: the folder has weights; tensors that Hugging Face has no name
        for, such as a CRF's; as many labels as the classifier has not.
    """
    if any(name.startswith(_EMISSIONS) for name in tensors):
        tensors = _tagger(tensors)
    architecture = _architecture(tensors)
    targets = _targets(tensors, architecture, folder)
    labels = _check_labels(tensors, labels)
    safetensors_files.refuse_existing(folder)
    tf.io.gfile.makedirs(folder)
    values = huggingface_config.to_dict(config, architecture, labels, kind)
    files.write_json(os.path.join(folder, CONFIG), values)
    files.write_tokenizer(
        folder, vocab_file, do_lower_case, config.max_position_embeddings
    )
    written = {
        target.name: target.rule.write(tensors[name])
        for name, target in targets.items()
    }
    safetensors_files.save(folder, written, max_shard_bytes)


def _tagger(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns a tagger's tensors without the pooler, which is no part of it."""
    if any(name.startswith("tagger/crf/") for name in tensors):
        raise CheckpointError(
            "the tagger chooses tags by a CRF, without which they would be others, and "
            "Hugging Face's BertForTokenClassification has none: export_saved_model.py "
            "writes the CRF, too, and run_tagger.py --crf=false trains without one"
        )
    unused = [name for name in tensors if name.startswith("bert/pooler/")]
    logging.info("left out: %s (no part of a tagger)", ", ".join(unused))
    return {name: value for name, value in tensors.items() if name not in unused}


def _architecture(tensors: Mapping[str, np.ndarray]) -> str:
    """Returns the class whose layout has these tensors."""
    heads = {
        part
        for part in (
            "cls/predictions/",
            "cls/seq_relationship/",
            "cls/squad/",
            "output_",
            "tagger/",
        )
        if any(name.startswith(part) for name in tensors)
    }
    if heads == {"cls/squad/"}:
        return "BertForQuestionAnswering"
    if heads == {"output_"} and "bert/pooler/dense/kernel" in tensors:
        return "BertForSequenceClassification"
    if heads in ({"output_"}, {"tagger/"}):
        return "BertForTokenClassification"
    if heads & {"output_", "tagger/", "cls/squad/"} and len(heads) > 1:
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
    is_tagger = any(name.startswith(_EMISSIONS) for name in tensors)
    table = TAGGER_TABLE if is_tagger else TABLE
    targets = {name: table.target(name, **chosen) for name in sorted(tensors)}
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
    biases = {"output_bias", f"{_EMISSIONS}output_bias"} & set(tensors)
    if not biases:
        return None
    size = len(tensors[biases.pop()])
    if labels is None:
        return [f"LABEL_{i}" for i in range(size)]
    if len(labels) != size:
        raise CheckpointError(
            f"got {len(labels)} labels, wanted the classifier's {size}"
        )
    return labels


def save_as(
    folder: str, tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint
) -> None:
    """Writes tensors, and what `checkpoint` has beside them; see `save`."""
    beside = (checkpoint.config, checkpoint.vocab_file, checkpoint.do_lower_case)
    decided = {}
    if checkpoint.outputs:
        decided = {"labels": checkpoint.labels, "kind": checkpoint.outputs.kind}
    save(folder, tensors, *beside, **decided)


def is_config(values: Mapping[str, Any], weights: Checkpoint | None) -> bool:
    """Tells whether a config is Hugging Face's of BERT, or one for such weights."""
    theirs = weights is not None and weights.format == FORMAT.name
    return theirs or huggingface_config.claims(values)


def read_config(values: Mapping[str, Any], source: str) -> BertConfig:
    """Builds a config that `is_config` has told; what has no mark has Google's keys."""
    if huggingface_config.claims(values):
        return huggingface_config.from_dict(values, source)
    return huggingface_config.from_google(values, source)


FORMAT = Format(
    "huggingface",
    open=open_checkpoint,
    is_tensors=lambda names: True,  # asked last; its messages name what is missing
    is_config=is_config,
    read_config=read_config,
    save=save_as,
)
