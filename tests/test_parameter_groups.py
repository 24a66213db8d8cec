"""What decays and what is frozen means the same in every system and every task."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tiny
import tiny_elmo
import tiny_gpt
import tiny_taglm
import tiny_ulmfit

import modeling
from modeling.layers import dropout
from optimization.groups import assign_groups
from optimization.optimizers import OptimizerConfig
from systems.classification_config import ClassificationConfig
from systems.elmo import ElmoSystem
from systems.taglm import TaglmSystem
from systems.ulmfit import UlmfitSystem
from tasks.bidirectional_language_model import BidirectionalLanguageModelTask
from tasks.causal_language_model import CausalLanguageModelTask
from tasks.classification import ClassificationTask
from tasks.language_model import MaskedLanguageModelTask
from tasks.span import SpanConfig, SpanTask
from tasks.tagging import TaggingConfig, TaggingTask

CLASSIFICATION = ClassificationConfig(
    task_name="tiny",
    output_kind="single_label",
    labels=("bad", "good"),
    metrics=("accuracy",),
    main_metric="accuracy",
    max_seq_length=24,
    do_lower_case=True,
)
TAGGING = TaggingConfig(("O", "B-X", "I-X"), "BIO", "BIO", True, 24, True)
SPANS = SpanConfig(max_seq_length=24, doc_stride=6, max_query_length=4)
SYSTEMS = {
    "bert": tiny.system,
    "gpt": tiny_gpt.system,
    "elmo": lambda _: ElmoSystem(tiny_elmo.CONFIG),
    "ulmfit": lambda _: UlmfitSystem(
        dataclasses.replace(tiny_ulmfit.CONFIG, vocab_size=9)
    ),
    "taglm": lambda _: TaglmSystem(tiny_taglm.CONFIG, words=()),
    "taglm on elmo": lambda _: TaglmSystem(
        tiny_taglm.CONFIG.with_lm(tiny_elmo.CONFIG), words=()
    ),
}
TASKS = {
    "classifier": lambda system, **kw: ClassificationTask(CLASSIFICATION, system, **kw),
    "span": lambda system, **kw: SpanTask(SPANS, system, **kw),
    "tagger": lambda system, **kw: TaggingTask(TAGGING, system, **kw),
    "masked": lambda system, **kw: MaskedLanguageModelTask(system, 24, 4, **kw),
    "causal": lambda system, **kw: CausalLanguageModelTask(system, 24, **kw),
    "both ways": lambda system, **kw: BidirectionalLanguageModelTask(system, 11, **kw),
}
# What drops of its own on top of the encoder: the calls of dropout that remain.
HEADS = {
    ("bert", "classifier"): 1,
    ("bert", "span"): 0,
    ("bert", "tagger"): 1,
    ("bert", "masked"): 0,
    ("gpt", "classifier"): 1,
    ("gpt", "span"): 0,
    ("gpt", "tagger"): 1,
    ("ulmfit", "classifier"): 2,
    ("ulmfit", "tagger"): 1,
    ("elmo", "classifier"): 3,
    ("elmo", "tagger"): 3,
    ("elmo", "both ways"): 2,
    ("taglm", "tagger"): 1,
    ("taglm on elmo", "tagger"): 1,
}


def build(folder, kind, task, **kwargs):
    found = TASKS[task](SYSTEMS[kind](folder), **kwargs)
    return found, found.build_model(dtype="float32", fused=False, seed=1)


@pytest.mark.parametrize(
    ("kind", "task"), [*HEADS, ("gpt", "causal")], ids=lambda name: name
)
def test_vectors_never_decay_and_matrices_that_are_trained_do(tmp_path, kind, task):
    found, model = build(tmp_path, kind, task)
    config = OptimizerConfig(weight_decay=0.2)
    variables = modeling.named_variables(model)
    groups = assign_groups(variables, found.parameter_groups(config))
    for name, variable in variables.items():
        wanted = 0.2 if len(variable.shape) > 1 else 0
        assert groups[name].weight_decay == wanted, name
    if task == "tagger":
        chain = ("start", "end", "transitions")
        decays = [groups[f"tagger/crf/{name}"].weight_decay for name in chain]
        assert decays == [0, 0, 0.2]


def inputs(kind, model):
    """Arguments with which each kind of model is called."""
    ids, mask = tf.constant([[2, 7, 8, 3]]), tf.ones([1, 4], tf.int32)
    rows = {"input_ids": ids, "input_mask": mask}
    if kind == "elmo" or kind.startswith("taglm"):
        characters = tiny_taglm.CONFIG.max_characters_per_token
        if kind != "taglm":
            characters = tiny_elmo.CONFIG.char_cnn.max_characters_per_token
        spelled = tf.random.stateless_uniform(
            [1, 4, characters], [1, 2], 1, 262, tf.int32
        )
        rows |= {"input_ids" if kind == "elmo" else "characters": spelled}
    if isinstance(model, modeling.ElmoLanguageModel):
        return {"ids": rows["input_ids"], "ids_reverse": rows["input_ids"]}
    if isinstance(model, modeling.ElmoClassifier):
        return {"ids": rows["input_ids"]}
    if isinstance(model, modeling.BertPreTrainingModel):
        return rows | {"masked_lm_positions": tf.constant([[1, 2]])}
    if hasattr(model, "tagger"):
        return {"inputs": rows, "word_positions": tf.constant([[1, 2]])}
    return rows


@pytest.mark.parametrize(("kind", "task"), HEADS, ids=lambda name: name)
def test_a_frozen_encoder_runs_without_dropout_in_every_task(
    tmp_path, monkeypatch, kind, task
):
    masks, keep_mask = [], dropout.keep_mask

    def spy(*args):
        masks.append(args)
        return keep_mask(*args)

    monkeypatch.setattr(dropout, "keep_mask", spy)
    drawn = {}
    for frozen in (False, True):
        _, model = build(tmp_path, kind, task, frozen_encoder=frozen)
        masks.clear()
        model(**inputs(kind, model), dropout_seed=tf.constant([3, 4]))
        drawn[frozen] = len(masks)
    assert drawn[True] == HEADS[kind, task] < drawn[False]


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (modeling.BertSpanExtractor, tiny.CONFIG),
        (modeling.BertPreTrainingModel, tiny.CONFIG),
        (
            modeling.GptSpanExtractor,
            dataclasses.replace(tiny_gpt.CONFIG, n_special=3),
        ),
        (modeling.ElmoLanguageModel, tiny_elmo.CONFIG),
    ],
)
def test_a_model_on_a_frozen_encoder_is_remade_as_one(cls, config):
    model = cls(config, frozen_encoder=True, seed=2)
    again = cls.from_config(model.get_config())
    assert again.frozen_encoder
    assert again.get_config() == model.get_config()


def test_an_update_shrinks_the_transitions_of_a_crf_and_not_its_ends(tmp_path):
    found, model = build(tmp_path, "bert", "tagger")
    variables = modeling.named_variables(model)
    for variable in variables.values():
        variable.assign(tf.ones_like(variable))
    config = OptimizerConfig(learning_rate=0.1, weight_decay=0.5, decay="constant")
    optimizer = config.build(variables, 9, found.parameter_groups(config))
    zeros = [tf.zeros(v.shape) for v in optimizer.trainable.values()]
    optimizer.apply(zeros, tf.constant(0))
    np.testing.assert_array_equal(variables["tagger/crf/start"], 1)
    np.testing.assert_array_equal(variables["tagger/crf/end"], 1)
    np.testing.assert_array_equal(variables["tagger/emissions/output_bias"], 1)
    np.testing.assert_allclose(variables["tagger/crf/transitions"], 0.95)
