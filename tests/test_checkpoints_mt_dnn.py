"""MT-DNN's files: the encoder and heads of torch.save, as safetensors, and back."""

import pickle
import sys
import types

import numpy as np
import pytest
import tiny
import torch_writer as w

import checkpoints
import convert_checkpoint
import modeling
from checkpoints import CheckpointError
from checkpoints.mt_dnn import TABLE
from modeling.bert_config import BertConfig
from modeling.mt_dnn import HeadConfig, MtDnnModel
from systems.bert import BertSystem

H = tiny.CONFIG.hidden_size
HEADS = {
    "0": HeadConfig("classification", 3),
    "1": HeadConfig("classification", 2, enable_san=True),
    "2": HeadConfig("ranking"),
}
CONFIG = {
    **tiny.CONFIG.to_dict(),
    "hidden_act": "gelu",
    "init_checkpoint": "bert_base.pt",
    "answer_opt": [0, 1, 0],
}


@pytest.fixture(scope="module")
def model():
    return MtDnnModel(tiny.CONFIG, HEADS, seed=1)


def tensors_of(model):
    return {k: v.numpy() for k, v in modeling.named_variables(model).items()}


def torch_names(tensors):
    """The tensors as torch has them: transposed kernels, and names with dots."""
    named = {}
    for ours, value in tensors.items():
        target = TABLE.target(ours)
        named[target.name] = np.ascontiguousarray(target.rule.write(value))
    return named


def write(path, state, **beside):
    """Writes {state, ...} as torch.save would; what is beside it by Python's pickle."""
    values, storages = {}, []
    for i, (name, value) in enumerate(state.items()):
        strides = [step // 4 for step in value.strides]
        of = w.storage(value.size, "FloatStorage", str(i))
        values[name] = w.tensor(of, 0, value.shape, strides)
        storages.append((str(i), value.tobytes()))
    parts = {name: pickle.dumps(value, 2)[2:-1] for name, value in beside.items()}
    content = w.mapping(state=w.mapping(**values), **parts)
    return w.write_zip(path, content, storages)


def check(found, wanted):
    assert not found.unknown
    assert set(found.shapes) == set(wanted)
    for name, value in wanted.items():
        assert found.shapes[name] == value.shape
        np.testing.assert_array_equal(found.read(name), value, err_msg=name)


def test_released_names_are_read_one_for_one(tmp_path, model):
    state = torch_names(tensors_of(model))
    # Spelled out: what the rules above cannot tell.
    assert state["bert.encoder.layer.0.intermediate.dense.weight"].shape[1] == H
    for name, shape in {
        "scoring_list.0.weight": (3, H),
        "scoring_list.0.bias": (3,),
        "scoring_list.1.query_wsum.att.linear.weight": (1, H),
        "scoring_list.1.attn.score_func.linear.weight": (H, H),
        "scoring_list.1.attn.score_func.linear.bias": (H,),
        "scoring_list.1.rnn.weight_ih": (3 * H, H),
        "scoring_list.1.rnn.bias_hh": (3 * H,),
        "scoring_list.1.classifier.proj.weight": (2, 4 * H),
        "scoring_list.2.weight": (1, H),
    }.items():
        assert state[name].shape == shape
    state["scoring_list.1.alpha"] = np.zeros([1, 1], np.float32)
    optimizer = {"state": {0: {"step": 3}}, "param_groups": [{"lr": 5e-5}]}
    path = write(tmp_path / "model_4.pt", state, optimizer=optimizer, config=CONFIG)
    found = checkpoints.open_checkpoint(path)
    check(found, tensors_of(model))
    assert found.format == "mt_dnn"
    assert found.ignored["scoring_list.1.alpha"] == "a constant that nothing reads"
    assert found.ignored["optimizer"] == "stands beside 'state', the model"
    # Torch's gelu is the erf form.
    assert found.config == BertConfig.from_dict(
        {**tiny.CONFIG.to_dict(), "gelu_approximate": False}
    )


@pytest.mark.parametrize("has_heads", [False, True])
def test_the_encoder_begins_a_classifier_whatever_heads_there_are(
    tmp_path, model, has_heads
):
    shared = {k: v for k, v in tensors_of(model).items() if k.startswith("bert/")}
    vocab, _ = tiny.write_model(tmp_path)
    state = torch_names(tensors_of(model) if has_heads else shared)
    path = write(tmp_path / "mt_dnn_base.pt", state, config=CONFIG)
    found = checkpoints.open_checkpoint(path)
    assert found.vocab_file == vocab
    assert set(shared) <= set(found.shapes)
    system = BertSystem(found.config, vocab, init_checkpoint=path)
    classifier = modeling.BertClassifier(found.config, 2, seed=5)
    variables = modeling.named_variables(classifier)
    outputs = checkpoints.Outputs("single_label", ("a", "b"))
    system.initialize(variables, "classifier", outputs, "mrpc")
    for name, value in shared.items():
        np.testing.assert_array_equal(variables[name], value, err_msg=name)


def test_a_head_of_ones_own_training_begins_a_task_of_its_number(tmp_path, model):
    vocab, _ = tiny.write_model(tmp_path)
    path = write(tmp_path / "a.pt", torch_names(tensors_of(model)), config=CONFIG)
    again = MtDnnModel(tiny.CONFIG, {"1": HEADS["1"], "new": HEADS["0"]}, seed=7)
    variables = modeling.named_variables(again)
    outputs = {
        "1": checkpoints.Outputs("single_label", ("a", "b")),
        "new": checkpoints.Outputs("single_label", ("a", "b", "c")),
    }
    system = BertSystem(tiny.CONFIG, vocab, init_checkpoint=path)
    system.initialize(variables, "shared", outputs)
    wanted = tensors_of(model)
    for name, variable in variables.items():
        if "/new/" not in name:
            np.testing.assert_array_equal(variable, wanted[name], err_msg=name)


def test_a_file_goes_there_and_back(tmp_path, model):
    tiny.write_model(tmp_path)
    path = write(tmp_path / "a.pt", torch_names(tensors_of(model)), config=CONFIG)
    first = checkpoints.open_checkpoint(path)
    source, *targets = path, "mt_dnn", "google_bert", "mt_dnn"
    for i, output_format in enumerate(targets):
        folder = str(tmp_path / f"{i}")
        convert_checkpoint.convert(source, folder, output_format)
        found = checkpoints.open_checkpoint(folder)
        assert (found.format, found.config) == (output_format, first.config)
        check(found, tensors_of(model))
        source = folder
    with pytest.raises(
        CheckpointError, match="scoring_list/0/output_bias: Hugging Face"
    ):
        convert_checkpoint.convert(source, str(tmp_path / "hf"), "huggingface")


def test_heads_of_later_versions_are_left_out_and_their_classes_are_never_made(
    tmp_path, model, monkeypatch
):
    state = torch_names(tensors_of(model))
    for name in [n for n in state if n.startswith("scoring_list.")]:
        del state[name]
    state["scoring_list.0.0.dense.weight"] = np.zeros([H, H], np.float32)
    state["scoring_list.0.1.weight"] = np.zeros([3, H], np.float32)
    state["bert.embeddings.position_ids"] = np.zeros([1, 40], np.float32)

    module = types.ModuleType("experiments.exp_def")
    module.TaskDef = type("TaskDef", (dict,), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, "experiments", types.ModuleType("experiments"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    task = module.TaskDef(n_class="3")
    task.n_class = 3
    config = {**CONFIG, "encoder_type": 1, "task_def_list": [task]}
    path = write(tmp_path / "a.pt", state, config=config)
    monkeypatch.undo()
    found = checkpoints.open_checkpoint(path)
    assert all(name.startswith("bert/") for name in found.shapes)
    assert "without its tanh" in found.ignored["scoring_list.0.1.weight"]
    assert "experiments.exp_def" not in sys.modules


def test_another_encoder_is_refused_and_an_unknown_part_of_a_head_is_named(
    tmp_path, model
):
    state = torch_names(tensors_of(model))
    path = write(tmp_path / "a.pt", state, config={**CONFIG, "encoder_type": 2})
    with pytest.raises(
        CheckpointError, match=r"a\.pt: encoder_type of its config is 2"
    ):
        checkpoints.open_checkpoint(path)
    path = write(tmp_path / "b.pt", state, config={**CONFIG, "hidden_size": 16})
    with pytest.raises(
        ValueError, match=r"b\.pt: its config: hidden_size 16 is not a m"
    ):
        checkpoints.open_checkpoint(path)
    state["scoring_list.1.rnn.weight_ih_v"] = np.zeros([3], np.float32)
    found = checkpoints.open_checkpoint(write(tmp_path / "c.pt", state, config=CONFIG))
    assert found.unknown == {"scoring_list.1.rnn.weight_ih_v": (3,)}
