"""Hugging Face's config.json for BERT, to and from `BertConfig`.

Beware: `"hidden_act": "gelu"` is the erf form there, the tanh form in Google's files.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from absl import logging

from checkpoints.mapping import CheckpointError, Outputs
from modeling.bert_config import BertConfig

# Any of these tells Hugging Face's JSON from Google's.
MARKS = frozenset({"architectures", "model_type", "transformers_version"})

_ACTIVATIONS = {  # theirs -> ours; of several, the first is written
    "gelu": "gelu_erf",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python": "gelu_erf",
    "relu": "relu",
    "tanh": "tanh",
    "linear": "linear",
}
# What the heads of their classes decide, where `problem_type` does not say it.
_KINDS = {
    "BertForMultipleChoice": "multiple_choice",
    "BertForQuestionAnswering": "squad",
    "BertForTokenClassification": "tagging",
}
_PROBLEMS = {
    "regression": "regression",
    "single_label_classification": "single_label",
    "multi_label_classification": "multi_label",
}
_NUM_LABELS = 2  # their default, which is not written
# Keys with which the model is another one than ours, unless they have this value.
_REQUIRED = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
    "tie_word_embeddings": True,
    "pruned_heads": {},
}
# Keys that change neither weights nor architecture.
IGNORED = frozenset(
    """
    _name_or_path name_or_path _attn_implementation _attn_implementation_autoset
    _commit_hash architectures attn_implementation transformers_version
    torch_dtype dtype torchscript use_bfloat16 gradient_checkpointing use_cache
    chunk_size_feed_forward return_dict output_attentions output_hidden_states
    output_past output_scores return_dict_in_generate id2label label2id num_labels
    finetuning_task problem_type task_specific_params tokenizer_class
    classifier_dropout summary_activation pad_token_id bos_token_id eos_token_id
    sep_token_id cls_token_id mask_token_id unk_token_id decoder_start_token_id
    forced_bos_token_id forced_eos_token_id prefix xla_device adapters
    cross_attention_hidden_size tf_legacy_loss
    directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers
    pooler_size_per_head pooler_type
    max_length min_length do_sample early_stopping num_beams num_beam_groups
    diversity_penalty temperature top_k top_p typical_p repetition_penalty
    length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids
    num_return_sequences remove_invalid_values exponential_decay_length_penalty
    suppress_tokens begin_suppress_tokens
    """.split()  # noqa: SIM905
)


def claims(values: Mapping[str, Any]) -> bool:
    """Tells whether a config is Hugging Face's of BERT."""
    return bool(MARKS & set(values)) and "n_embd" not in values


def from_dict(values: Mapping[str, Any], source: str) -> BertConfig:
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
    ours = model_keys(values, _REQUIRED, IGNORED, source)
    ours.setdefault("layer_norm_eps", 1e-12)  # older files have it as the default
    act = ours.get("hidden_act")
    if act not in (None, *_ACTIVATIONS):
        raise CheckpointError(
            f"{source}: hidden_act is {act!r}, wanted one of {', '.join(_ACTIVATIONS)}"
        )
    if act is not None:
        ours["hidden_act"] = _ACTIVATIONS[act]
    return BertConfig.from_dict(ours, source=source)


def from_google(values: Mapping[str, Any], source: str) -> BertConfig:
    """Builds the config of Hugging Face's weights from Google's keys.

    Their first releases had a bert_config.json, and computed the erf form for `gelu`.

    Args:
      values: the content of a bert_config.json.
      source: the file, for messages.

    Raises:
      UserError: see BertConfig.from_dict.
    """
    if values.get("hidden_act") == "gelu" and "gelu_approximate" not in values:
        logging.info(
            "%s: gelu is the erf form, as Hugging Face's library computes it; for the "
            'tanh form of Google\'s, add "gelu_approximate": true',
            source,
        )
        values = {**values, "gelu_approximate": False}
    return BertConfig.from_dict(values, source=source)


def model_keys(
    values: Mapping[str, Any],
    required: Mapping[str, Any],
    ignored: Collection[str],
    source: str,
) -> dict[str, Any]:
    """Returns the keys of config.json that are a model's own.

    Args:
      values: the content of config.json.
      required: key -> the value that it must have if it is there.
      ignored: keys that change neither weights nor architecture.
      source: the file, for messages.

    Raises:
      CheckpointError: a required key has another value.
    """
    for key, wanted in required.items():
        value = values.get(key, wanted)
        if value != wanted and not (value is None and not wanted):
            raise CheckpointError(f"{source}: {key} is {value!r}, wanted {wanted!r}")
    skipped = {*required, *ignored}
    return {key: value for key, value in values.items() if key not in skipped}


def to_dict(
    config: BertConfig,
    architecture: str,
    labels: Sequence[str] | None,
    kind: str | None = None,
) -> dict[str, Any]:
    """Returns what config.json must say.

    Args:
      config: the model's.
      architecture: Hugging Face's class, such as `BertForPreTraining`.
      labels: the classifier's in order; None for a model without classifier.
      kind: what a classifier decides, see `Outputs`; None when it is not known.

    Returns:
      A JSON object that `from_dict` turns into `config` again.
    """
    values = config.to_dict()
    values.pop("gelu_approximate", None)
    names = {ours: theirs for theirs, ours in reversed(_ACTIVATIONS.items())}
    values.update(
        hidden_act=names[config.hidden_act],
        layer_norm_eps=config.layer_norm_eps,
        model_type="bert",
        architectures=[architecture],
        position_embedding_type="absolute",
        pad_token_id=0,
        torch_dtype="float32",
    )
    if labels is not None:
        values |= label_keys(labels)
    problems = {ours: theirs for theirs, ours in _PROBLEMS.items()}
    if labels is not None and kind in problems:
        values["problem_type"] = problems[kind]
    return values


def label_keys(labels: Sequence[str]) -> dict[str, Any]:
    """Returns the keys of config.json that name labels."""
    return {
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def outputs(values: Mapping[str, Any], source: str) -> Outputs:
    """Returns what config.json says of a head, whether the weights have one or not.

    Labels that nobody named, LABEL_0, LABEL_1 ..., are names like others.

    Args:
      values: the content of config.json.
      source: the file, for messages.

    Raises:
      CheckpointError: `id2label` does not number its labels 0, 1, 2 ..., or what
        should be a text or a list is none.
    """
    names = _labels(values, source)
    architectures = values.get("architectures") or []
    if not isinstance(architectures, list):
        raise CheckpointError(
            f"{source}: architectures is {architectures!r}, wanted a list"
        )
    kinds = [kind for name, kind in _KINDS.items() if name in architectures]
    problem = values.get("problem_type")
    if problem not in (None, *_PROBLEMS):
        raise CheckpointError(
            f"{source}: problem_type is {problem!r}, wanted one of "
            f"{', '.join(_PROBLEMS)}"
        )
    number = len(names) or _NUM_LABELS
    kind = _PROBLEMS.get(problem, "regression" if number == 1 else "single_label")
    return Outputs(kinds[0] if kinds else kind, names)


def _labels(values: Mapping[str, Any], source: str) -> tuple[str, ...]:
    """The labels of config.json in order; () when it has none."""
    id2label = values.get("id2label") or {}
    if not isinstance(id2label, dict):
        raise CheckpointError(f"{source}: id2label is {id2label!r}, wanted an object")
    wanted = [str(i) for i in range(len(id2label))]
    if sorted(id2label) != sorted(wanted):
        raise CheckpointError(
            f"{source}: id2label has the keys {sorted(id2label)}, wanted {wanted}"
        )
    return tuple(str(id2label[i]) for i in wanted)
