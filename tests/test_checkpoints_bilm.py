"""bilm-tf's files: HDF5 with options.json, and TF1 checkpoints of its training."""

import json
import os
import pathlib
import re
import shutil

import h5py
import numpy as np
import pytest

import checkpoints
import modeling
from checkpoints import bilm, tensorflow_files
from checkpoints.mapping import CheckpointError
from modeling import elmo, elmo_config

GOLDEN = pathlib.Path(__file__).parent / "golden"
WEIGHTS = GOLDEN / "elmo_char_clip_weights.hdf5"
CELL = "RNN_1/RNN/MultiRNNCell/Cell1/LSTMCell/"
OUR_CELL = "lm/RNN_1/rnn/multi_rnn_cell/cell_1/lstm_cell/"


@pytest.fixture
def folder(tmp_path):
    """The golden weights as a folder whose files may be changed."""
    shutil.copyfile(WEIGHTS, tmp_path / bilm.WEIGHTS)
    shutil.copyfile(GOLDEN / "elmo_char_clip_options.json", tmp_path / bilm.CONFIG)
    return tmp_path


def _load(path):
    """Loads weights into a model of the config beside them."""
    checkpoint = bilm.open_checkpoint(str(path))
    model = elmo.ElmoModel(checkpoint.config)
    variables = modeling.named_variables(model)
    checkpoints.initialize(variables, checkpoint, new={}, unused={})
    return variables


def _tensors(checkpoint):
    return {name: checkpoint.read(name) for name in checkpoint.shapes}


def test_every_dataset_has_our_name_and_its_own_values():
    checkpoint = bilm.open_checkpoint(str(WEIGHTS))
    assert checkpoint.unknown == {} == checkpoint.ignored
    assert checkpoint.config.lstm.proj_clip == 0.05  # *_options.json, as released
    with h5py.File(WEIGHTS) as file:
        for theirs, ours in {
            "char_embed": "lm/char_embed",
            "CNN/W_cnn_2": "lm/CNN/W_cnn_2",
            "CNN_high_0/b_carry": "lm/CNN_high_0/b_carry",
            "CNN_proj/W_proj": "lm/CNN_proj/W_proj",
            CELL + "W_0": OUR_CELL + "kernel",
            CELL + "B": OUR_CELL + "bias",
            CELL + "W_P_0": OUR_CELL + "projection/kernel",
        }.items():
            np.testing.assert_array_equal(checkpoint.read(ours), file[theirs])


def test_written_weights_are_the_originals_dataset_for_dataset(folder, tmp_path):
    checkpoint = bilm.open_checkpoint(str(folder / bilm.WEIGHTS))
    tensors = _tensors(checkpoint) | {"lm/softmax/b": np.zeros(3, "f4")}
    vocab = tmp_path / "words.txt"
    vocab.write_text("<S>\n</S>\n<UNK>\n")
    config = json.loads((folder / bilm.CONFIG).read_text())
    config["char_cnn"]["n_characters"] = 261  # as it was when training
    written = [tmp_path / "one", tmp_path / "two"]
    for target in written:
        bilm.save(
            str(target), tensors, elmo.ElmoConfig.from_dict(config), str(vocab), None
        )
    one, two = ((target / bilm.WEIGHTS).read_bytes() for target in written)
    assert one == two
    with h5py.File(WEIGHTS) as old, h5py.File(written[0] / bilm.WEIGHTS) as new:
        names = [], []
        old.visit(names[0].append)
        new.visit(names[1].append)
        assert names[0] == names[1]  # and so no softmax
        for name in names[0]:
            if isinstance(old[name], h5py.Dataset):
                assert new[name].dtype == np.float32
                np.testing.assert_array_equal(old[name], new[name])
    again = bilm.open_checkpoint(str(written[0] / bilm.WEIGHTS))
    assert again.config == checkpoint.config  # 262 characters, for inference
    assert again.vocab_file == str(written[0] / "vocab.txt")


def test_one_layer_of_words_goes_out_and_comes_back(tmp_path):
    config = elmo.ElmoConfig(elmo_config.LstmOptions(4, 3), n_tokens_vocab=7)
    model = elmo.ElmoModel(config, seed=2)
    tensors = {k: v.numpy() for k, v in modeling.named_variables(model).items()}
    assert "lm/RNN_0/rnn/lstm_cell/kernel" in tensors
    bilm.save(str(tmp_path), tensors, config, None, None)
    with h5py.File(tmp_path / bilm.WEIGHTS) as file:
        # The only name that bilm-tf's inference looks for.
        assert "RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell/W_P_0" in file
    for name, variable in _load(tmp_path / bilm.WEIGHTS).items():
        np.testing.assert_array_equal(variable, tensors[name])


def _change(folder, name, value):
    with h5py.File(folder / bilm.WEIGHTS, "r+") as file:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (CELL + "B", None, f"missing: {OUR_CELL}bias"),
        (CELL + "B", np.zeros(5, "f4"), rf"wrong shape: {OUR_CELL}bias is \[5\]"),
        ("CNN/W_more", np.zeros(5, "f4"), r"extra: CNN/W_more \[5\]"),
        ("CNN/b_cnn_0", np.zeros(4, "i4"), "CNN/b_cnn_0 is int32"),
        ("char_embed", np.zeros([262, 5], "f4"), "262 rows, wanted 261.*no file has"),
    ],
)
def test_each_wrong_dataset_is_named(folder, name, value, message):
    _change(folder, name, value)
    with pytest.raises(CheckpointError, match=message) as raised:
        _load(folder / bilm.WEIGHTS)
    assert bilm.WEIGHTS in str(raised.value)


def test_damaged_files_are_named(folder):
    path = folder / bilm.WEIGHTS
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        _load(path)
    path.write_bytes(b"no HDF5")
    with pytest.raises(CheckpointError, match="not a readable HDF5 file"):
        _load(path)


def test_bytes_changed_anywhere_end_in_no_other_error(folder):
    path = folder / bilm.WEIGHTS
    data, random = path.read_bytes(), np.random.default_rng(0)
    messages = []
    for _ in range(60):
        changed = bytearray(data)
        for place in random.integers(0, 6000, 5):
            changed[place] = random.integers(256)
        path.write_bytes(changed)
        try:
            _tensors(bilm.open_checkpoint(str(path)))
        except CheckpointError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all(message.startswith(str(path)) for message in messages)


def _with_raw_data(file, folder):
    (folder / "raw").write_bytes(bytes(261 * 5 * 4))
    external = str(folder / "raw")
    file.create_dataset("char_embed", (261, 5), "f4", external=external)


def _with_virtual_data(file, folder):
    layout = h5py.VirtualLayout(shape=(261, 5), dtype="f4")
    layout[:] = h5py.VirtualSource(folder / "other", "char_embed", shape=(261, 5))
    file.create_virtual_dataset("char_embed", layout)


def _with_external_link(file, folder):
    file["char_embed"] = h5py.ExternalLink(folder / "other", "char_embed")


def _with_soft_link(file, _):
    file["char_embed"] = h5py.SoftLink("/CNN/W_cnn_0")


def _with_no_values(file, _):
    file.create_dataset("char_embed", (261, 5), "f4", chunks=(29, 5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_with_raw_data, "is stored in another file"),
        (_with_virtual_data, "is stored in another file"),
        (_with_external_link, "is a link, wanted the tensor itself"),
        (_with_soft_link, "is a link, wanted the tensor itself"),
        (_with_no_values, r"\[261, 5\] is not wholly in the file"),
    ],
)
def test_tensors_of_other_files_are_not_read(folder, change, message):
    with h5py.File(folder / "other", "w") as file:
        file["char_embed"] = np.zeros([261, 5], "f4")
    with h5py.File(folder / bilm.WEIGHTS, "r+") as file:
        del file["char_embed"]
        change(file, folder)
    with pytest.raises(CheckpointError, match=f"char_embed {message}"):
        bilm.open_checkpoint(str(folder / bilm.WEIGHTS))


def test_a_tensor_without_a_place_in_hdf5_is_refused(tmp_path):
    config = elmo.ElmoConfig(elmo_config.LstmOptions(4, 3), n_tokens_vocab=7)
    with pytest.raises(CheckpointError, match="output_bias: bilm-tf's HDF5"):
        bilm.save(str(tmp_path), {"output_bias": np.zeros(2)}, config, None, None)


def test_a_tf1_checkpoint_of_bilm_tf_loads_into_the_language_model(tmp_path):
    golden = np.load(GOLDEN / "elmo_train_char_clip.npz")
    tensors = {k[6:]: golden[k] for k in golden.files if k.startswith("final/")}
    # What its Saver writes besides the weights.
    state = {f"{name}/Adagrad": np.ones_like(v) for name, v in tensors.items()}
    state |= {"global_step": np.float32(5), "train_perplexity": np.float32(30)}
    prefix = str(tmp_path / "model.ckpt-5")
    tensorflow_files.save(prefix, tensors | state)
    options = json.loads((GOLDEN / "elmo_train_char_clip.json").read_text())["options"]
    (tmp_path / bilm.CONFIG).write_text(json.dumps(options))
    checkpoint = bilm.open_trained(prefix)
    assert set(checkpoint.ignored) == set(state)
    model = elmo.ElmoLanguageModel(checkpoint.config)
    variables = modeling.named_variables(model)
    checkpoints.initialize(variables, checkpoint, new={}, unused={})
    for name, variable in variables.items():
        np.testing.assert_array_equal(variable, tensors[name])


def test_a_folder_is_known_by_its_hdf5_and_options_by_their_lstm(folder):
    found = checkpoints.open_checkpoint(str(folder))
    assert found.format == "bilm"
    assert found.config == checkpoints.read_config(str(folder / bilm.CONFIG))
    shutil.copyfile(WEIGHTS, folder / "other_weights.hdf5")
    with pytest.raises(CheckpointError, match=r"lm_weights.hdf5, other_weights.hdf5;"):
        checkpoints.open_checkpoint(str(folder))


def test_weights_of_any_name_are_found_beside_their_options(folder):
    os.rename(folder / bilm.WEIGHTS, folder / "elmo.hdf5")
    with h5py.File(folder / "features.hdf5", "w") as file:
        file["0"] = np.zeros([3, 2, 4], "f4")  # vectors, as bilm-tf and we write them
    assert checkpoints.open_checkpoint(str(folder)).path == str(folder / "elmo.hdf5")
    shutil.copyfile(folder / "elmo.hdf5", folder / "other.hdf5")
    with pytest.raises(CheckpointError, match=r"elmo.hdf5, other.hdf5; name one"):
        checkpoints.open_checkpoint(str(folder))
    shutil.copyfile(WEIGHTS, folder / bilm.WEIGHTS)  # whose name says it
    assert checkpoints.open_checkpoint(str(folder)).path == str(folder / bilm.WEIGHTS)


def test_weights_and_options_of_two_models_are_told_apart(folder):
    options = json.loads((folder / bilm.CONFIG).read_text())
    options["char_cnn"]["embedding"]["dim"] = 4
    (folder / bilm.CONFIG).write_text(json.dumps(options))
    with pytest.raises(CheckpointError, match=r"char_embed is \[261, 5\].*\[261, 4\]"):
        checkpoints.open_checkpoint(str(folder))
