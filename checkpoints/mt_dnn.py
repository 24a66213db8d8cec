"""MT-DNN's files (namisan/mt-dnn): torch.save of {state, config}, and of an optimizer.

    bert.*              as Hugging Face names them
    scoring_list.n.*    the head of the task n; none in mt_dnn_base.pt and _large.pt

The config has the encoder's keys among the flags of the training. What is written here
has the same names, in safetensors.
"""

import dataclasses
import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from checkpoints import (
    files,
    huggingface,
    huggingface_config,
    safetensors_files,
    state_dicts,
    torch_files,
)
from checkpoints.foreign import Format
from checkpoints.mapping import (
    Checkpoint,
    CheckpointError,
    Field,
    Rule,
    Table,
    raise_problems,
)
from checkpoints.torch_pickles import Inert
from modeling.bert_config import BertConfig
from modeling.mt_dnn import SCOPE

_WORDS = "bert.embeddings.word_embeddings.weight"
_CONFIG = "config"
_MAX_SHARD_BYTES = 5_000_000_000
_BERT = {
    "encoder_type": 1,
    "model_type": "bert",
}  # what a config says of one, if at all

# An affine map's names in a head, theirs -> ours.
_MAPS = {
    "": "",
    "query_wsum.att.linear.": "query_wsum/",
    "attn.score_func.linear.": "attn/",
    "classifier.proj.": "classifier/",
}
TABLE = Table(
    rules=[
        *huggingface.RULES,
        *(
            Rule(
                f"{SCOPE}.{{task}}.{theirs}{part}",
                f"{SCOPE}/{{task}}/{ours}output_{part.replace('weight', 'weights')}",
            )
            for theirs, ours in _MAPS.items()
            for part in ("weight", "bias")
        ),
        Rule(f"{SCOPE}.{{task}}.rnn.{{cell}}", f"{SCOPE}/{{task}}/rnn/{{cell}}"),
    ],
    fields={
        **huggingface.FIELDS,
        "task": Field("[^./]+"),
        "cell": Field("(?:weight|bias)_[ih]h"),
    },
    ignored={
        **huggingface.IGNORED,
        rf"{SCOPE}\.[^.]+\.alpha": "a constant that nothing reads",
        rf"{SCOPE}\.[^.]+\.[01]\..*": "a head with a pooler of its own, which theirs "
        "computes without its tanh: here it would decide otherwise",
    },
)


def is_tensors(names: Collection[str]) -> bool:
    """Tells by its names whether a file is of MT-DNN."""
    has_heads = any(name.startswith(f"{SCOPE}.") for name in names)
    return has_heads or (_CONFIG in names and _WORDS in names)


def open_checkpoint(path: str) -> Checkpoint:
    """Opens a file of torch.save, or of ours in safetensors, or its index of shards.

    Args:
      path: the file; vocab.txt is sought beside it, and a config if none is inside.

    Returns:
      The checkpoint; the heads are `scoring_list/<n>/...`.

    Raises:
      CheckpointError: a damaged file, or a config of another encoder than BERT.
    """
    beside = huggingface.beside(os.path.dirname(path))
    # What decides is that no head of one task is in it, whatever a config says of one.
    fields = beside | {
        "outputs": None,
        "config": _inner_config(path) or beside["config"],
    }
    found = state_dicts.open_checkpoint(path, TABLE, **fields)
    return dataclasses.replace(found, format=FORMAT.name)


def _inner_config(path: str) -> BertConfig | None:
    """Returns the encoder's config out of a file of torch.save; None: it has none."""
    if not torch_files.is_torch(files.read_head(path, torch_files.HEAD)):
        return None
    values = torch_files.read(path).get(_CONFIG)
    if type(values) is not dict or "hidden_size" not in values:
        return None
    for key, wanted in _BERT.items():
        value = values.get(key, wanted)
        if isinstance(value, Inert) and value.args:  # a member of their enumeration
            value = value.args[0]
        if value != wanted:
            raise CheckpointError(
                f"{path}: {key} of its config is {value!r}, wanted {wanted!r}, BERT"
            )
    known = [field.name for field in dataclasses.fields(BertConfig)]
    ours = {key: values[key] for key in known if key in values}
    return huggingface_config.from_google(ours, f"{path}: its config")


def save(
    folder: str, tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint
) -> None:
    """Writes model.safetensors, config.json and the vocabulary; weights come last.

    Args:
      folder: holds no weights yet.
      tensors: our name -> float32 array; heads go by the names of their tasks.
      checkpoint: with config and vocabulary.

    Raises:
      CheckpointError: the folder has weights, or a tensor has no name there.
    """
    targets = {name: TABLE.target(name, bert="bert.") for name in sorted(tensors)}
    problems = [
        f"{name}: MT-DNN's files have no such tensor"
        for name, target in targets.items()
        if target is None
    ]
    raise_problems(problems, folder)
    safetensors_files.refuse_existing(folder)
    tf.io.gfile.makedirs(folder)
    config = checkpoint.config
    values: dict[str, Any] = huggingface_config.to_dict(config, "BertModel", None)
    files.write_json(os.path.join(folder, huggingface.CONFIG), values)
    files.write_tokenizer(
        folder,
        checkpoint.vocab_file,
        checkpoint.do_lower_case,
        config.max_position_embeddings,
    )
    written = {
        target.name: target.rule.write(tensors[name])
        for name, target in targets.items()
    }
    safetensors_files.save(folder, written, _MAX_SHARD_BYTES)


FORMAT = Format("mt_dnn", open=open_checkpoint, is_tensors=is_tensors, save=save)
