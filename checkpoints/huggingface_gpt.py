"""Hugging Face's `openai-gpt`: config.json, model.safetensors, vocab.json, merges.txt.

Special tokens are the last rows of their token embeddings; `n_special`, a key that
transformers keeps and does not read, says how many there are.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

import json_files
from checkpoints import files, gpt, huggingface_config, safetensors_files, state_dicts
from checkpoints.foreign import Format
from checkpoints.mapping import (
    Checkpoint,
    CheckpointError,
    Field,
    Outputs,
    Rule,
    Table,
    raise_problems,
    transpose,
)
from modeling.gpt_config import GptConfig

CONFIG = "config.json"
_MAX_SHARD_BYTES = 5_000_000_000

# Keys with which the model is another one than ours, unless they have this value.
_REQUIRED = {
    "model_type": "openai-gpt",
    "layer_norm_epsilon": 1e-5,
    "is_decoder": False,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
    "tie_word_embeddings": True,
    "pruned_heads": {},
}
# Keys that change neither weights nor architecture; n_ctx repeats n_positions.
_IGNORED = huggingface_config.IGNORED | frozenset(
    """
    initializer_range n_ctx predict_special_tokens
    summary_type summary_use_proj summary_proj_to_labels
    """.split()  # noqa: SIM905
)
_NAMES = {  # theirs -> ours
    "vocab_size": "n_vocab",
    "n_special": "n_special",
    "n_positions": "n_ctx",
    "n_embd": "n_embd",
    "n_layer": "n_layer",
    "n_head": "n_head",
    "afn": "afn",
    "embd_pdrop": "embd_pdrop",
    "attn_pdrop": "attn_pdrop",
    "resid_pdrop": "resid_pdrop",
    "summary_first_dropout": "clf_pdrop",
}
_DEFAULTS = {"n_special": 0, "summary_first_dropout": 0.1}
_HEAD = Outputs("multiple_choice", ())  # the only one that a class of theirs has
_ACTIVATIONS = {"gelu_new": "gelu", "silu": "swish"}  # second names, theirs -> ours


def _unwrap(value: np.ndarray) -> np.ndarray:
    return value[0]


def _wrap(value: np.ndarray) -> np.ndarray:
    return value[None]  # OpenAI's is the kernel of a convolution of width 1


def _dense(name: str) -> list[Rule]:
    theirs, ours = f"{{t}}h.{{n}}.{name}.", f"h{{n}}/{name.replace('.', '/')}/"
    return [
        Rule(f"{theirs}weight", f"{ours}w", _wrap, _unwrap),
        Rule(f"{theirs}bias", f"{ours}b"),
    ]


TABLE = Table(
    rules=[
        Rule("{t}tokens_embed.weight", gpt.TOKENS),
        Rule("{t}positions_embed.weight", gpt.POSITIONS),
        *_dense("attn.c_attn"),
        *_dense("attn.c_proj"),
        *_dense("mlp.c_fc"),
        *_dense("mlp.c_proj"),
        Rule("{t}h.{n}.{norm}.weight", "h{n}/{norm}/g"),
        Rule("{t}h.{n}.{norm}.bias", "h{n}/{norm}/b"),
        Rule("lm_head.weight", gpt.TOKENS),  # tied
        Rule("multiple_choice_head.summary.weight", "clf/w", transpose, transpose),
        Rule("multiple_choice_head.summary.bias", "clf/b"),
    ],
    fields={
        "t": Field(r"(?:transformer\.)?", "transformer."),  # none in a bare decoder
        "n": Field(r"\d+"),
        "norm": Field("ln_[12]"),
    },
    ignored={
        r"(transformer\.)?h\.\d+\.attn\.bias": "a buffer: the causal mask",
        r"(transformer\.)?position_ids": "a buffer: 0, 1, 2 ...",
    },
)


def is_gpt(names: Iterable[str]) -> bool:
    """Tells by the names of its tensors whether a file holds a GPT."""
    return any(name.endswith("tokens_embed.weight") for name in names)


def open_checkpoint(path: str) -> Checkpoint:
    """Opens a GPT; arguments, result and errors of state_dicts.open_checkpoint.

    Args:
      path: a .safetensors file, or the index file of shards; config.json, vocab.json
        and merges.txt are sought beside it.
    """
    folder = os.path.dirname(path)
    config_file = files.find(folder, CONFIG)
    beside = gpt.beside(folder)
    if config_file:
        beside["config"] = from_dict(json_files.read_object(config_file), config_file)
    return gpt.join(state_dicts.open_checkpoint(path, TABLE, outputs=_HEAD, **beside))


def save(
    folder: str,
    tensors: Mapping[str, np.ndarray],
    config: GptConfig,
    vocab_file: str | None,
    do_lower_case: bool | None,
) -> None:
    """Writes a folder that transformers' `from_pretrained` loads; weights come last.

    Args:
      folder: holds no weights yet.
      tensors: our name -> float32 array.
      config: the model's.
      vocab_file: to copy, with the merges beside it; None for none.
      do_lower_case: of no meaning: the encoding has lower-case pieces only.

    Raises:
      CheckpointError: the folder has weights; tensors that Hugging Face has no name
        for.
    """
    del do_lower_case
    written, problems = {}, []
    for name, value in gpt.split(tensors, config).items():
        target = TABLE.target(name)
        # Theirs scores answers, one number each; classes they score without a bias.
        if target is None or (name == "clf/w" and value.shape[1] != 1):
            problems.append(
                f"{name} {list(value.shape)}: Hugging Face's OpenAIGPT models have no "
                "such tensor"
            )
        else:
            written[target.name] = target.rule.write(value)
    raise_problems(problems, folder)
    safetensors_files.refuse_existing(folder)
    tf.io.gfile.makedirs(folder)
    kind = "DoubleHeads" if "clf/w" in tensors else "LMHead"
    values = to_dict(config, f"OpenAIGPT{kind}Model")
    files.write_json(os.path.join(folder, CONFIG), values)
    tokenizer = {
        "model_max_length": config.n_ctx,
        "tokenizer_class": "OpenAIGPTTokenizer",
    }
    files.write_json(os.path.join(folder, files.TOKENIZER_CONFIG), tokenizer)
    gpt.copy_vocab(vocab_file, folder, gpt.VOCAB)
    safetensors_files.save(folder, written, _MAX_SHARD_BYTES)


def is_config(values: Mapping[str, Any], weights: Checkpoint | None) -> bool:
    """Tells whether a config is Hugging Face's of GPT, and not our own form."""
    del weights
    ours = "n_vocab" in values or values.get("model_type") == "gpt"
    return "n_embd" in values and not ours


def from_dict(values: Mapping[str, Any], source: str) -> GptConfig:
    """Builds a config from Hugging Face's keys.

    Args:
      values: the content of config.json.
      source: the file, for messages.

    Returns:
      The config.

    Raises:
      ValueError: a key that is unknown or missing, or whose value means another
        architecture; the message names `source` and the key.
    """
    theirs = _DEFAULTS | huggingface_config.model_keys(
        values, _REQUIRED, _IGNORED, source
    )
    missing = sorted(set(_NAMES) - set(theirs))
    if missing:
        raise CheckpointError(f"{source}: missing key(s) {', '.join(missing)}")
    if values.get("n_ctx", theirs["n_positions"]) != theirs["n_positions"]:
        raise CheckpointError(
            f"{source}: n_ctx is {values['n_ctx']!r}, n_positions "
            f"{theirs['n_positions']!r}; they must be the same"
        )
    ours = {_NAMES.get(key, key): value for key, value in theirs.items()}
    if isinstance(ours["afn"], str):
        ours["afn"] = _ACTIVATIONS.get(ours["afn"], ours["afn"])
    config = GptConfig.from_dict(ours, source=source)
    if config.n_special >= config.n_vocab:
        raise CheckpointError(
            f"{source}: n_special is {config.n_special} of vocab_size {config.n_vocab}"
        )
    return dataclasses.replace(config, n_vocab=config.n_vocab - config.n_special)


def to_dict(config: GptConfig, architecture: str) -> dict[str, Any]:
    """Returns what config.json must say.

    Args:
      config: the model's.
      architecture: Hugging Face's class, such as `OpenAIGPTLMHeadModel`.

    Returns:
      A JSON object that `from_dict` turns into `config` again.
    """
    values = {theirs: getattr(config, ours) for theirs, ours in _NAMES.items()}
    names = {ours: theirs for theirs, ours in _ACTIVATIONS.items() if ours != "gelu"}
    return values | {
        "afn": names.get(config.afn, config.afn),
        "architectures": [architecture],
        "layer_norm_epsilon": 1e-5,
        "model_type": "openai-gpt",
        "torch_dtype": "float32",
        "vocab_size": config.n_vocab + config.n_special,
    }


def save_as(
    folder: str, tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint
) -> None:
    """Writes tensors, and what `checkpoint` has beside them; see `save`."""
    beside = (checkpoint.config, checkpoint.vocab_file, checkpoint.do_lower_case)
    save(folder, tensors, *beside)


FORMAT = Format(
    "huggingface",
    open=open_checkpoint,
    is_tensors=is_gpt,
    is_config=is_config,
    read_config=from_dict,
    save=save_as,
)
