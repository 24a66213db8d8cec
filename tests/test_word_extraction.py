"""ELMo's vectors in files: bilm-tf's layout and states, or each sentence alone."""

import json
import pathlib

import h5py
import numpy as np
import pytest
import scripts
import tensorflow as tf

import modeling
from checkpoints import bilm
from modeling import ElmoModel
from vocabulary import CharacterEncoder

pytestmark = pytest.mark.long

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
WEIGHTS = GOLDEN / "elmo_char_clip_weights.hdf5"
LINES = [
    "neural networks avoid",
    "words",
    "the model of words",
    "",
    "neural networks avoid",
]


def run(folder, output, *flags, lines=LINES):
    """Writes the vectors of lines with the golden weights; returns the file's path."""
    text = folder / "text.txt"
    text.write_text("".join(f"{line}\n" for line in lines))
    scripts.run(
        "extract_features",
        "--model_type=elmo",
        f"--init_checkpoint={WEIGHTS}",
        f"--input_file={text}",
        f"--output_file={folder / output}",
        *flags,
    )
    return folder / output


def encode(lines, stateful=False):
    """Runs the model sentence by sentence; returns each one's [L, T, 2P]."""
    checkpoint = bilm.open_checkpoint(str(WEIGHTS))
    model = ElmoModel(checkpoint.config)
    for name, variable in modeling.named_variables(model).items():
        variable.assign(checkpoint.read(name))
    encoder = CharacterEncoder(checkpoint.config.char_cnn.max_characters_per_token)
    states, found = None, []
    for line in lines:
        outputs = model(tf.constant(encoder.batch([line.split()])), states)
        states = outputs["states"] if stateful else None
        found.append(outputs["lm_embeddings"][0].numpy())
    return found


def read_hdf5(path):
    with h5py.File(path) as file:
        assert set(file) == {str(i) for i in range(len(file))}
        return [file[str(i)][...] for i in range(len(file))]


def assert_same(found, wanted):
    assert len(found) == len(wanted)
    for left, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


@pytest.mark.parametrize("stateful", [False, True])
def test_hdf5_holds_all_layers_of_each_sentence(tmp_path, stateful):
    flags = ("--stateful",) if stateful else ("--batch_size=2",)
    found = read_hdf5(run(tmp_path, "vectors.hdf5", *flags))
    assert_same(found, encode(LINES, stateful))
    assert found[3].shape == (3, 0, found[0].shape[2])
    assert np.array_equal(found[0], found[4]) != stateful


def test_chosen_layers_and_their_mean_in_every_format(tmp_path):
    wanted = encode(LINES)
    mean = read_hdf5(run(tmp_path, "mean.h5", "--layer_combination=mean"))
    assert_same(mean, [layers.mean(axis=0) for layers in wanted])
    flags = ("--layers=-1,0", "--max_seq_length=3")
    array = np.load(run(tmp_path, "vectors.npy", *flags), allow_pickle=False)
    assert array.shape == (5, 3, 2, wanted[0].shape[2])
    np.testing.assert_allclose(array[0], wanted[0][[2, 0]].swapaxes(0, 1), atol=1e-5)
    assert not array[1, 1:].any()
    path = run(tmp_path, "vectors.jsonl", "--layers=2")
    (row, *_) = map(json.loads, path.read_text().splitlines())
    assert [token["token"] for token in row["features"]] == LINES[0].split()
    values = row["features"][1]["layers"][0]["values"]
    np.testing.assert_allclose(values, wanted[0][2, 1], atol=1e-5)


@pytest.mark.parametrize("name", ["mean", "max"])
def test_a_line_may_have_one_vector_of_its_words(tmp_path, name):
    found = np.load(run(tmp_path, "vectors.npy", f"--pooling={name}"))
    tops = [layers[-1] for layers in encode(LINES)]
    assert found.shape == (len(LINES), tops[0].shape[-1])
    for vector, words in zip(found, tops, strict=True):
        wanted = getattr(words, name)(axis=0) if len(words) else 0
        np.testing.assert_allclose(vector, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--layers=3", "--layers has 3, but the model has 3 layers"),
        ("--long=window", "--long=window is not for elmo, only for bert, gpt"),
    ],
)
def test_what_elmo_has_not_is_refused(tmp_path, flag, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, "vectors.npy", flag)
    assert not (tmp_path / "vectors.npy").exists()
