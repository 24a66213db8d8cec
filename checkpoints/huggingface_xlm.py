"""Hugging Face's XLM: config.json, model.safetensors, vocab.json, merges.txt."""

import json
import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

import json_files
import tokenization_xlm
from checkpoints import files, huggingface_config, safetensors_files, state_dicts, xlm
from checkpoints.foreign import Format
from checkpoints.mapping import Checkpoint, CheckpointError, raise_problems
from modeling.xlm import XlmConfig, sinusoids

CONFIG = "config.json"
_MAX_SHARD_BYTES = 5_000_000_000
_CASE = "do_lowercase_and_remove_accent"
# Keys with which the model is another one than ours, unless they have this value.
_REQUIRED = {
    "model_type": "xlm",
    "asm": False,
    "causal": False,
    "is_encoder": True,
    "layer_norm_eps": 1e-12,
    "pad_index": 2,
    "pad_token_id": 2,
    "eos_index": 1,
    "pruned_heads": {},
    "summary_type": "first",
    "is_decoder": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
}
# Keys that change neither weights nor architecture.
_IGNORED = (huggingface_config.IGNORED - set(_REQUIRED)) | frozenset(
    """
    bos_index unk_index mask_index embed_init_std init_std lang_id end_n_top start_n_top
    summary_first_dropout summary_proj_to_labels summary_use_proj lang2id max_vocab
    n_langs
    """.split()  # noqa: SIM905
)
_NAMES = {  # theirs -> ours
    "emb_dim": "emb_dim",
    "n_layers": "n_layers",
    "n_heads": "n_heads",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "gelu_activation": "gelu_activation",
    "sinusoidal_embeddings": "sinusoidal_embeddings",
    "use_lang_emb": "use_lang_emb",
    "max_position_embeddings": "max_position_embeddings",
    "tie_word_embeddings": "share_inout_emb",
    "n_words": "n_words",
}
_CLASSES = {  # the names of a head's variables begin so -> the class that has them
    "pred_layer/": "XLMWithLMHeadModel",
    "classifier/": "XLMForSequenceClassification",
    "cls/squad/": "XLMForQuestionAnsweringSimple",
    "tagger/": "XLMForTokenClassification",
}


def is_tensors(names: Collection[str]) -> bool:
    """Tells a model, the parent's too, by the names of its tensors."""
    name = "attentions.0.q_lin.weight"
    return name in names or f"transformer.{name}" in names


def open_checkpoint(path: str) -> Checkpoint:
    """Opens a model; result and errors of state_dicts.open_checkpoint.

    Args:
      path: a .safetensors file, one of torch, or the index file of shards; config.json,
        which must be there, vocab.json and merges.txt are sought beside it. Of the
        parent's, see `xlm.open_parents`.
    """
    if xlm.is_parents(path):
        return xlm.open_parents(path)
    folder = os.path.dirname(path)
    config_file = files.find(folder, CONFIG)
    if config_file is None:
        raise CheckpointError(f"{path}: there is no {CONFIG} beside it")
    values = json_files.read_object(config_file)
    config = from_dict(values, config_file)
    return state_dicts.open_checkpoint(
        path,
        xlm.of_config(config),
        vocab_tensors=xlm.VOCAB_TENSORS,
        config=config,
        vocab_file=files.find(folder, xlm.JSON_VOCAB),
        do_lower_case=config.do_lower_case,
        outputs=huggingface_config.outputs(values, config_file),
    )


def is_config(values: Mapping[str, Any], weights: Checkpoint | None) -> bool:
    """Tells whether a config is Hugging Face's of XLM, and not our own form."""
    del weights
    return "languages" not in values and "id2lang" in values


def from_dict(values: Mapping[str, Any], source: str) -> XlmConfig:
    """Builds a config from Hugging Face's keys, and from what tokenizes beside it.

    Args:
      values: the content of config.json.
      source: the file, for messages.

    Raises:
      UserError: a key that is unknown, or whose value means another architecture; the
        message names `source` and the key.
    """
    theirs = huggingface_config.model_keys(values, _REQUIRED, _IGNORED, source)
    if "vocab_size" in theirs:  # of files since 2020
        theirs["n_words"] = theirs.pop("vocab_size")
    languages = xlm.language_names(theirs.pop("id2lang", None), source)
    ours = {_NAMES.get(key, key): value for key, value in theirs.items()}
    ours |= {"model_type": "xlm", "languages": languages}
    ours["do_lower_case"] = _lower_cases(os.path.dirname(source))
    return XlmConfig.from_dict(ours, source)


def _lower_cases(folder: str) -> bool:
    """Tells whether texts are lower-cased, as the tokenizer or its pieces say."""
    path = files.find(folder, files.TOKENIZER_CONFIG)
    told = path and json_files.read_object(path).get(_CASE)
    if told not in (None, True, False):
        raise CheckpointError(f"{path}: {_CASE} is {told!r}, wanted true or false")
    vocab_file = files.find(folder, xlm.JSON_VOCAB)
    if told is None and vocab_file:
        return not xlm.is_cased(json_files.read_object(vocab_file))
    return told is not False


def save(
    folder: str, tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint
) -> None:
    """Writes a folder that transformers' `from_pretrained` loads; weights come last.

    Args:
      folder: holds no weights yet.
      tensors: our name -> float32 array.
      checkpoint: with config and vocabulary.

    Raises:
      CheckpointError: the folder has weights; tensors that Hugging Face has no name
        for, such as a CRF's, or several heads.
    """
    config, table = checkpoint.config, xlm.of_config(checkpoint.config)
    targets = {name: table.target(name) for name in tensors}
    raise_problems(
        [
            f"{name}: Hugging Face's XLM models have no such tensor"
            for name, target in targets.items()
            if target is None
        ],
        folder,
    )
    heads = [
        start for start in _CLASSES if any(name.startswith(start) for name in tensors)
    ]
    if len(heads) > 1:
        raise CheckpointError(
            f"tensors of several heads ({', '.join(heads)}): no Hugging Face class has "
            "them together"
        )
    safetensors_files.refuse_existing(folder)
    tf.io.gfile.makedirs(folder)
    values = to_dict(config, _CLASSES[heads[0]] if heads else "XLMModel")
    if checkpoint.labels and heads:
        values |= huggingface_config.label_keys(checkpoint.labels)
    files.write_json(os.path.join(folder, CONFIG), values)
    tokenizer = {
        _CASE: config.do_lower_case,
        "model_max_length": config.max_position_embeddings,
        "tokenizer_class": "XLMTokenizer",
    }
    files.write_json(os.path.join(folder, files.TOKENIZER_CONFIG), tokenizer)
    if checkpoint.vocab_file is not None:
        _write_vocab(folder, checkpoint.vocab_file, config.n_words)
    bare = "" if not heads else "transformer."
    written = {
        table.target(name, t=bare).name: target.rule.write(tensors[name])
        for name, target in targets.items()
    }
    if config.sinusoidal_embeddings:
        table = sinusoids(config.max_position_embeddings, config.emb_dim)
        written[f"{bare}position_embeddings.weight"] = table
    safetensors_files.save(folder, written, _MAX_SHARD_BYTES)


def to_dict(config: XlmConfig, architecture: str) -> dict[str, Any]:
    """Returns what config.json must say.

    Args:
      config: the model's.
      architecture: Hugging Face's class, such as `XLMWithLMHeadModel`.

    Returns:
      A JSON object that `from_dict` turns into `config` again.
    """
    values = {theirs: getattr(config, ours) for theirs, ours in _NAMES.items()}
    languages = list(config.languages)
    del values["n_words"]
    return values | {
        "vocab_size": config.n_words,
        "architectures": [architecture],
        "asm": False,
        "bos_token_id": tokenization_xlm.BOS,
        "causal": False,
        "id2lang": {str(i): name for i, name in enumerate(languages)},
        "lang2id": {name: i for i, name in enumerate(languages)},
        "layer_norm_eps": 1e-12,
        "model_type": "xlm",
        "n_langs": len(languages),
        "pad_token_id": tokenization_xlm.PAD,
        "torch_dtype": "float32",
    }


def _write_vocab(folder: str, vocab_file: str, n_words: int) -> None:
    """Writes vocab.json and merges.txt of any form of the two."""
    target = os.path.join(folder, xlm.JSON_VOCAB)
    pieces = tokenization_xlm.BytePairs(vocab_file, n_words).vocab
    ids = {tokenization_xlm.json_form(piece): i for piece, i in pieces.items()}
    files.write_text(target, json.dumps(ids, ensure_ascii=False) + "\n")
    codes = tokenization_xlm.codes_beside
    files.copy(codes(vocab_file), codes(target))


FORMAT = Format(
    "huggingface",
    open=open_checkpoint,
    is_tensors=is_tensors,
    is_config=is_config,
    read_config=from_dict,
    save=save,
)
