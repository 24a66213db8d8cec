"""fastai's files of ULMFiT, of all its versions, and back."""

import json
import pickle
import re

import numpy as np
import pytest
import safetensors.numpy
import scripts
import torch_writer

import checkpoints
import modeling
from checkpoints import ulmfit
from checkpoints.mapping import CheckpointError
from errors import UserError
from modeling.ulmfit import UlmfitModel
from modeling.ulmfit_classifier import UlmfitClassifier
from systems.system import make_system
from tokenization_ulmfit import SPECIAL

pytestmark = pytest.mark.long

WORDS = [*SPECIAL, "the", "\n", "a"]
V, E, D = len(WORDS), 3, 5
RNG = np.random.default_rng(0)


def drawn(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def state(raw="0.rnns.{}.weight_hh_l0_raw", start="0.", decoder=True):
    """Returns a language model of two layers as torch names it."""
    embedding = drawn(V, E)
    found = {f"{start}encoder.weight": embedding}
    for layer, (inputs, units) in enumerate(((E, D), (D, E))):
        module = f"{start}rnns.{layer}.module."
        found[raw.format(layer)] = drawn(4 * units, units)
        found[f"{module}weight_ih_l0"] = drawn(4 * units, inputs)
        found[f"{module}bias_ih_l0"] = drawn(4 * units)
        found[f"{module}bias_hh_l0"] = drawn(4 * units)
    if decoder:
        found |= {"1.decoder.weight": embedding, "1.decoder.bias": drawn(V)}
    return found


def expected(found, start="0."):
    """Returns our tensors of these."""
    tensors = {"ulmfit/embedding": found[f"{start}encoder.weight"]}
    if "1.decoder.bias" in found:
        tensors["ulmfit/decoder_bias"] = found["1.decoder.bias"]
    for layer, units in enumerate((D, E)):
        order = [*range(units), *range(2 * units, 3 * units)]
        order += [*range(units, 2 * units), *range(3 * units, 4 * units)]
        raw = next(v for k, v in found.items() if f"rnns.{layer}" in k and "raw" in k)
        module = f"{start}rnns.{layer}.module."
        inputs = found[f"{module}weight_ih_l0"]
        bias = found[f"{module}bias_ih_l0"] + found[f"{module}bias_hh_l0"]
        kernel = np.concatenate([inputs.T, raw.T])[:, order]
        tensors[f"ulmfit/rnn_{layer}/kernel"] = kernel
        tensors[f"ulmfit/rnn_{layer}/bias"] = bias[order]
    return tensors


def write_legacy(path, tensors):
    """Writes torch's form of 2018."""
    values, storages = {}, []
    for i, (name, value) in enumerate(tensors.items()):
        of = torch_writer.storage(value.size, "FloatStorage", str(i), b"N")
        strides = [step // 4 for step in value.strides]
        values[name] = torch_writer.tensor(of, 0, value.shape, strides)
        storages.append((str(i), value.size, value.tobytes()))
    return torch_writer.write_legacy(path, torch_writer.mapping(**values), storages)


def write_words(folder, words=WORDS, name="itos_wt103.pkl"):
    (folder / name).write_bytes(pickle.dumps(words, protocol=2))


def check(checkpoint, wanted):
    assert not checkpoint.unknown
    assert set(checkpoint.shapes) == set(wanted)
    for name, value in wanted.items():
        assert checkpoint.shapes[name] == value.shape
        np.testing.assert_array_equal(checkpoint.read(name), value, err_msg=name)


def test_the_h5_of_2018_is_torchs_pickle_and_has_no_bias_for_words(tmp_path):
    found = state(raw="0.rnns.{}.module.weight_hh_l0_raw")
    del found["1.decoder.bias"]
    found["0.encoder_with_dropout.embed.weight"] = found["0.encoder.weight"]
    write_words(tmp_path)
    path = write_legacy(tmp_path / "fwd_wt103.h5", found)
    checkpoint = checkpoints.open_checkpoint(path)
    check(checkpoint, expected(found))
    config = checkpoint.config
    sizes = (config.embedding_size, config.hidden_size, config.num_layers)
    assert sizes == (E, D, 2)
    system = make_system(config, checkpoint.vocab_file, None, path)
    system = system.match_vocabulary()
    model = UlmfitModel(system.config)
    system.initialize(modeling.named_variables(model), None)
    np.testing.assert_array_equal(model.embedding.numpy(), found["0.encoder.weight"])
    assert not model.decoder_bias.numpy().any()
    assert system.entries()[-2] == r"\n"
    system.save_beside(str(tmp_path / "out"))
    assert ulmfit.read_words(str(tmp_path / "out" / "vocab.txt")) == WORDS


@pytest.mark.parametrize("start", ["0.", ""])
def test_files_of_v1_and_v2_and_encoders_alone_are_read(tmp_path, start):
    found = state(f"{start}rnns.{{}}.weight_hh_l0_raw", start, decoder=bool(start))
    # What v2 leaves there is of the last batch, with its dropout.
    found[f"{start}rnns.0.module.weight_hh_l0"] = drawn(4 * D, D)
    found[f"{start}encoder_dp.emb.weight"] = found[f"{start}encoder.weight"]
    path = torch_writer.write_state(tmp_path / "lstm_fwd.pth", found)
    checkpoint = checkpoints.open_checkpoint(path)
    check(checkpoint, expected(found, start))
    assert "what was left" in checkpoint.ignored[f"{start}rnns.0.module.weight_hh_l0"]
    assert checkpoint.vocab_file is None


HEADS = {
    "v1": {"0": (3 * E,), "2": (4, 3 * E), "4": (4,), "6": (2, 4)},
    "v2": {"0.0": (3 * E,), "0.2": (4, 3 * E), "1.0": (4,), "1.2": (2, 4)},
}


@pytest.mark.parametrize("version", HEADS)
def test_a_classifier_is_read_and_written_and_read(tmp_path, version):
    start = "0.module."
    found = state(f"{start}rnns.{{}}.weight_hh_l0_raw", start, decoder=False)
    for place, shape in HEADS[version].items():
        layer = f"1.layers.{place}."
        found[f"{layer}weight"] = drawn(*shape)
        if len(shape) == 1:
            found[f"{layer}bias"] = drawn(*shape)
            found[f"{layer}running_mean"] = drawn(*shape)
            found[f"{layer}running_var"] = np.abs(drawn(*shape))
        elif version == "v1":
            found[f"{layer}bias"] = drawn(shape[0])
    safetensors.numpy.save_file(found, tmp_path / "model.safetensors")
    (tmp_path / "itos.json").write_text(json.dumps(WORDS))
    first = checkpoints.open_checkpoint(str(tmp_path))
    assert first.config.classifier_size == 4
    checkpoints.save_as(first, str(tmp_path / "out"), "fastai")
    second = checkpoints.open_checkpoint(str(tmp_path / "out"))
    check(second, {name: first.read(name) for name in first.shapes})
    assert second.config == first.config
    assert ulmfit.read_words(second.vocab_file) == WORDS
    model = UlmfitClassifier(first.config, 2, 5)
    names = set(modeling.named_variables(model))
    assert names == {*second.shapes, ulmfit.DECODER_BIAS}


def test_a_language_model_goes_through_the_script_and_back(tmp_path):
    found = state()
    torch_writer.write_state(tmp_path / "lstm_fwd.pth", found)
    write_words(tmp_path)
    scripts.run(
        "convert_checkpoint",
        f"--input_checkpoint={tmp_path}/lstm_fwd.pth",
        f"--output_path={tmp_path}/out",
        "--output_format=fastai",
    )
    check(checkpoints.open_checkpoint(str(tmp_path / "out")), expected(found))
    written = safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
    stale = {"0.encoder_dp.emb.weight"}
    assert set(written) == set(found) | stale
    for name, value in found.items():
        if "bias_" not in name:
            np.testing.assert_array_equal(written[name], value, err_msg=name)
    assert json.loads((tmp_path / "out" / "itos.json").read_text()) == WORDS


def broken(found, how):
    """Returns the tensors with a fault, and what is said of it."""
    if how == "untied":
        found["1.decoder.weight"] = drawn(V, E)
        return "1.decoder.weight differs from 0.encoder.weight"
    if how == "missing":
        del found["0.rnns.1.module.bias_hh_l0"]
        return "missing: ulmfit/rnn_1/output_bias"
    if how == "qrnn":
        found["0.rnns.0.layers.0.linear.weight_raw"] = drawn(4, 4)
        return "its layers are QRNNs, as MultiFiT's; wanted LSTMs"
    assert how == "extra"
    found["0.rnns.0.module.weight_hr_l0"] = drawn(4, 4)
    return "extra: 0.rnns.0.module.weight_hr_l0"


@pytest.mark.parametrize("how", ["untied", "missing", "qrnn", "extra"])
def test_files_that_are_no_such_models_are_refused_by_name(tmp_path, how):
    found = state()
    message = broken(found, how)
    path = str(tmp_path / "model.safetensors")
    safetensors.numpy.save_file(found, path)

    def load():
        config = checkpoints.open_checkpoint(path).config
        system = make_system(config, None, None, path)
        variables = modeling.named_variables(UlmfitModel(config))
        system.initialize(variables, None)

    with pytest.raises(CheckpointError, match=re.escape(message)):
        load()


class Harm:
    """Would run something where a pickle is loaded as Python does."""

    def __reduce__(self):
        return (print, ("harm",))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*WORDS, "the"], '"the" is word 10 and word 13; wanted each once'),
        ([*WORDS, "one", "more"], f"has {V + 2} words, but .* vectors of {V}:"),
        ({"the": 1}, "wanted a list of strings"),
        ([*WORDS[:-1], Harm()], "the pickle names .*print, which is refused"),
    ],
)
def test_words_that_cannot_be_are_refused(tmp_path, words, message):
    write_words(tmp_path, words)
    path = torch_writer.write_state(tmp_path / "lstm_fwd.pth", state())
    with pytest.raises(UserError, match=f"itos_wt103.pkl:? .*{message}"):
        checkpoints.open_checkpoint(path)


def test_of_two_lists_of_words_one_must_be_named(tmp_path):
    write_words(tmp_path)
    write_words(tmp_path, name="itos.pkl")
    path = torch_writer.write_state(tmp_path / "lstm_fwd.pth", state())
    with pytest.raises(CheckpointError, match=r"holds itos.pkl and itos_wt103.pkl"):
        checkpoints.open_checkpoint(path)


def test_other_words_than_those_of_the_weights_need_to_be_mapped(tmp_path):
    write_words(tmp_path)
    found = state()
    path = torch_writer.write_state(tmp_path / "lstm_fwd.pth", found)
    ours = ["_unk_", "_pad_", "a", "the", "new", "t_up"]
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("".join(f"{word}\n" for word in ours))
    config = checkpoints.open_checkpoint(path).config
    system = make_system(config, str(vocab), None, path, True).match_vocabulary()
    model = UlmfitModel(system.config)
    system.initialize(modeling.named_variables(model), None)
    table = found["0.encoder.weight"]
    # A mark of 2018 has the row of the later one of its meaning.
    places = [WORDS.index(w) for w in ("xxunk", "xxpad", "a", "the", "xxup")]
    rows = model.embedding.numpy()
    np.testing.assert_array_equal(rows[[0, 1, 2, 3, 5]], table[places])
    np.testing.assert_allclose(rows[4], table.mean(0), atol=1e-6)
    (tmp_path / "itos_wt103.pkl").rename(tmp_path / "words.pkl")
    with pytest.raises(CheckpointError, match="no list of its 12 words is beside it"):
        system.initialize(modeling.named_variables(model), None)
    (tmp_path / "words.pkl").rename(tmp_path / "itos_wt103.pkl")
    vocab.write_text("".join(f"{word}\n" for word in (*WORDS[:-2], "b", "c")))
    system = make_system(config, str(vocab), None, path).match_vocabulary()
    with pytest.raises(CheckpointError, match=r"has other words than .*--resize_vocab"):
        system.initialize(modeling.named_variables(UlmfitModel(config)), None)
