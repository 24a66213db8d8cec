"""Files of torch.save: what torch wrote is read, and nothing else is, nor run."""

import dataclasses
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import checkpoints
from checkpoints import CheckpointError, torch_files, torch_pickles
from tests import torch_writer as w

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden/torch"
SAFETENSORS = ROOT / "tests/golden/checkpoints"


def assert_same_tensors(left, right):
    """Same names, shapes and bits."""
    assert set(left.shapes) == set(right.shapes)
    for name, shape in left.shapes.items():
        assert shape == right.shapes[name]
        np.testing.assert_array_equal(left.read(name), right.read(name), err_msg=name)


# What torch wrote.


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_every_type_and_layout_has_torchs_values(form):
    content = torch_files.read(str(GOLDEN / f"{form}.pt"))
    values = np.load(GOLDEN / "values.npz")
    assert set(content) == set(values)
    for name, value in values.items():
        found = content[name].array()
        assert found.dtype.name == ("bfloat16" if name == "bfloat16" else value.dtype)
        np.testing.assert_array_equal(found.astype(value.dtype), value, err_msg=name)


def test_floats_are_read_as_float32_and_other_types_are_refused_by_name(monkeypatch):
    content = torch_files.read(str(GOLDEN / "zip.pt"))
    monkeypatch.setattr(torch_files, "_CONVERTED", 4)  # of the tensors below some rows
    three = content["float64"]
    content["square"] = dataclasses.replace(three, shape=(2, 2), strides=(1, 1))
    content["one"] = dataclasses.replace(three, shape=(), strides=())
    content["none"] = dataclasses.replace(three, shape=(0, 2), strides=(1, 1))
    others = ("float64", "float16", "bfloat16", "transposed")
    for name in (*others, "square", "one", "none"):
        found = content[name].read(name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, content[name].array().astype(np.float32))
    with pytest.raises(CheckpointError, match=r"zip\.pt: int8 is int8, wanted a float"):
        content["int8"].read("int8")


def test_a_file_without_checksums_is_read():
    found, _ = torch_files.list_tensors(str(GOLDEN / "no_crc.pt"))
    np.testing.assert_array_equal(
        found["a"].array(), np.load(GOLDEN / "values.npz")["float32"]
    )


def test_the_model_is_found_in_a_trainings_checkpoint():
    found, ignored = torch_files.list_tensors(str(GOLDEN / "training.pth"))
    assert {name: t.shape for name, t in found.items()} == {
        "weight": (2, 3),
        "bias": (2,),
    }
    assert set(ignored) == {"optimizer", "args", "epoch", "best", "order", "loss"}
    assert set(ignored.values()) == {"stands beside 'model', the model"}


def test_objects_beside_the_tensors_are_inert():
    args = torch_files.read(str(GOLDEN / "training.pth"))["args"]
    assert type(args) is torch_pickles.Inert
    assert args.name == "argparse Namespace"
    assert args.state["state"]["name"] == "tiny"


def test_shards_have_the_tensors_that_safetensors_have():
    assert_same_tensors(
        checkpoints.open_checkpoint(GOLDEN / "bert"),
        checkpoints.open_checkpoint(SAFETENSORS / "huggingface"),
    )


def test_gpt_has_the_tensors_that_safetensors_have(tmp_path):
    shutil.copy(SAFETENSORS / "huggingface_gpt/config.json", tmp_path)
    shutil.copy(GOLDEN / "gpt/pytorch_model.bin", tmp_path)
    wanted = checkpoints.open_checkpoint(SAFETENSORS / "huggingface_gpt")
    found = checkpoints.open_checkpoint(tmp_path)
    assert found.config == wanted.config
    assert_same_tensors(found, wanted)


def test_a_file_is_known_by_its_contents_whatever_its_name(tmp_path):
    shutil.copy(GOLDEN / "gpt/pytorch_model.bin", tmp_path / "weights.pt")
    found = checkpoints.open_checkpoint(tmp_path / "weights.pt")
    assert "h1/attn/c_attn/w" in found.shapes
    assert found.config is None


def test_safetensors_are_preferred_where_a_folder_has_both(tmp_path):
    shutil.copytree(SAFETENSORS / "huggingface", tmp_path, dirs_exist_ok=True)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    found = checkpoints.open_checkpoint(tmp_path)
    assert found.path == str(tmp_path / "model.safetensors")


def test_a_file_and_an_index_of_shards_ask_for_one(tmp_path):
    shutil.copytree(GOLDEN / "bert", tmp_path, dirs_exist_ok=True)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    with pytest.raises(CheckpointError, match="pytorch_model.bin and pytorch_model.b"):
        checkpoints.open_checkpoint(tmp_path)


def test_a_shard_that_lacks_a_tensor_or_is_missing_is_named(tmp_path):
    shutil.copytree(GOLDEN / "bert", tmp_path, dirs_exist_ok=True)
    index = tmp_path / "pytorch_model.bin.index.json"
    values = json.loads(index.read_text())
    first, second = sorted(set(values["weight_map"].values()))
    values["weight_map"]["bert.more"] = first
    index.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=f"missing: bert.more is not in {first}"):
        checkpoints.open_checkpoint(tmp_path)
    (tmp_path / second).unlink()
    with pytest.raises(ValueError, match=second):
        checkpoints.open_checkpoint(tmp_path)


# Built by hand, as torch would have.


@pytest.mark.parametrize("write", [w.write_zip, w.write_legacy])
def test_the_hand_made_files_are_read(tmp_path, write):
    path = write(tmp_path / "a.pt", w.mapping(x=w.tensor(shape=(2, 2), strides=(1, 2))))
    found, ignored = torch_files.list_tensors(path)
    np.testing.assert_array_equal(found["x"].read("x"), [[1, 3], [2, 4]])
    assert ignored == {}


def test_views_of_very_old_files_are_read_within_their_bounds(tmp_path):
    def view(start, length):
        seen = w.sequence(w.text("1"), w.number(start), w.number(length))
        return w.storage(4, "FloatStorage", "0", seen)

    value = w.mapping(x=w.tensor(view(1, 2), 1, (1,)))
    path = w.write_legacy(tmp_path / "a.pt", value)
    assert torch_files.list_tensors(path)[0]["x"].read("x") == [3]
    for start, length, message in ((3, 2, "view ends"), (1, 1, "ends at element 1 ")):
        value = w.mapping(x=w.tensor(view(start, length), 1, (1,)))
        path = w.write_legacy(tmp_path / "a.pt", value)
        with pytest.raises(CheckpointError, match=message):
            torch_files.read(path)


def test_a_python_2_dict_of_pairs_is_read(tmp_path):
    pairs = b"](](" + w.text("x") + w.tensor() + b"ee"
    value = w.call(w.name("collections", "OrderedDict"), pairs)
    found, _ = torch_files.list_tensors(w.write_legacy(tmp_path / "a.pt", value))
    assert found["x"].shape == (4,)


# Hostile.

NAMES = [
    ("posix", "system"),
    ("os", "system"),
    ("nt", "system"),
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("__builtin__", "eval"),
    ("builtins", "set"),
    ("subprocess", "Popen"),
    ("turtle", "Turtle"),
    ("collections", "defaultdict"),
    ("collections", "OrderedDict.fromkeys"),
    ("torch", "load"),
    ("torch._utils", "_rebuild_sparse_tensor"),
    ("torch._utils", "_rebuild_qtensor"),
    ("torch._tensor", "_rebuild_from_type_v2"),
    ("torch.nn.modules.linear", "Linear"),
    ("torch.storage", "_load_from_bytes"),
    ("torch.jit._pickle", "restore_type_tag"),
    ("__torch__", "Model"),
]


@pytest.mark.parametrize("write", [w.write_zip, w.write_legacy])
@pytest.mark.parametrize(("module", "attribute"), NAMES)
def test_every_other_name_is_refused_by_name_and_never_run(
    tmp_path, write, module, attribute
):
    """Whether it is called, only mentioned, made, or spelled by the newer operation."""
    known = set(sys.modules)
    target, ran = w.name(module, attribute), w.text(f"touch {tmp_path}/ran")
    newer = w.text(module) + w.text(attribute) + b"\x93"
    called = [
        w.call(target, ran),
        w.call(newer, ran),
        target + w.sequence(ran) + b"\x81",
    ]
    for value in (*called, target, target + b"0" + w.mapping(x=w.tensor())):
        path = write(tmp_path / "a.pt", w.mapping(x=w.tensor(), y=value))
        with pytest.raises(CheckpointError) as error:
            torch_files.read(path)
        assert f"a.pt: the pickle names {module}.{attribute}, which" in str(error.value)
    assert not (tmp_path / "ran").exists()
    assert set(sys.modules) == known


def test_a_name_of_many_lines_is_shown_in_one(tmp_path):
    value = w.text("os\x1b[2J\n") + w.text("system" + 999 * "é") + b"\x93"
    path = w.write_zip(tmp_path / "a.pt", value)
    with pytest.raises(CheckpointError, match=r"names os\\x1b\[2J\\n\.system") as error:
        torch_files.read(path)
    assert len(str(error.value).removeprefix(path)) < 200


OPERATIONS = {
    "text protocol's persistent id": b"Pstorage\n",
    "object of a class by name": b"(iposix\nsystem\n",
    "object": b"(" + w.name("argparse", "Namespace") + b"o",
    "extension": b"\x82\x01",
    "new with keywords": w.name("argparse", "Namespace") + b")}\x92",
    "set": b"\x8f",
    "out of band": b"\x97",
    "duplicate": w.text("a") + b"2",
}


@pytest.mark.parametrize("value", OPERATIONS.values(), ids=OPERATIONS)
def test_operations_that_torch_does_not_use_are_refused(tmp_path, value):
    path = w.write_zip(tmp_path / "a.pt", w.mapping(x=value))
    with pytest.raises(
        CheckpointError, match=r"a\.pt: the pickle's operation [A-Z_0-9]"
    ):
        torch_files.read(path)


HUGE = 1 << 62
TENSORS = {
    "offset beyond": (w.tensor(offset=1), "ends at element 4 of a storage that has 4"),
    "shape beyond": (w.tensor(shape=(5,)), "ends at element 4 of"),
    "strides beyond": (w.tensor(shape=(2, 2), strides=(3, 1)), "ends at element 4 of"),
    "negative offset": (w.tensor(offset=-1), "whole numbers from 0"),
    "negative stride": (w.tensor(strides=(-1,)), "whole numbers from 0"),
    "negative shape": (w.tensor(shape=(-4,)), "whole numbers from 0"),
    "huge stride": (w.tensor(shape=(2,), strides=(HUGE - 1,)), "ends at element"),
    "stride beyond 64 bits": (w.tensor(strides=(1 << 70,)), "whole numbers from 0"),
    "product beyond 64 bits": (
        w.tensor(shape=(HUGE - 1,) * 3, strides=(0,) * 3),
        "more than 4 times",
    ),
    "blow-up": (w.tensor(shape=(10**6, 10**6), strides=(0, 0)), "more than 4 times"),
    "blow-up in parts": (
        b"](" + 40 * w.tensor(shape=(30, 30), strides=(0, 0)) + b"e",
        "more than 4 times",
    ),
    "too many dimensions": (w.tensor(shape=(1,) * 33, strides=(1,) * 33), "33 dim"),
    "uneven": (w.tensor(shape=(2, 2), strides=(1,)), "2 dimensions and 1 strides"),
    "no storage": (w.tensor(w.text("0")), "a tensor without storage"),
    "no tuple": (
        w.call(name := w.name("torch._utils", "_rebuild_tensor"), *[w.storage()] * 4),
        "a tensor without storage, shape or strides",
    ),
    "too few arguments": (w.call(name, w.storage()), "damaged pickle"),
    "boolean shape": (
        w.call(
            name, w.storage(), w.number(0), w.sequence(b"\x88"), w.sequence(b"\x88")
        ),
        "whole numbers from 0",
    ),
    "called storage": (
        w.call(w.name("torch", "FloatStorage"), w.number(9)),
        "is called",
    ),
    "called string": (w.call(w.text("posix.system"), w.text("true")), "damaged pickle"),
    "state of a tensor": (
        w.tensor() + w.mapping(x=w.text("y")) + b"b",
        "the state of a",
    ),
    "items in a tuple": (
        b")" + w.text("a") + w.text("b") + b"s",
        "items are set in a t",
    ),
    "appended to a dict": (b"}" + w.text("a") + b"a", "values are appended to a dict"),
    "not in the memo": (b"h\x07", "damaged pickle"),
    "empty stack": (b"R", "damaged pickle"),
    "no mark": (b"t", "damaged pickle"),
    "not there": (w.tensor(w.storage(key="7")), "has no member 'archive/data/7'"),
    "another size": (
        w.tensor(w.storage(3)),
        "data/0 has 16 bytes, but its tensors say 12",
    ),
    "another type": (
        w.tensor(w.storage(4, "DoubleStorage")),
        "16 bytes, but .* say 32",
    ),
    "two types": (
        w.sequence(w.tensor(), w.tensor(w.storage(4, "IntStorage"))),
        "storage '0' is of two types or sizes",
    ),
    "huge count": (w.tensor(w.storage(HUGE)), "a storage's elements must be"),
    "a path": (
        w.tensor(w.storage(key="../../../../etc/passwd")),
        r"has no member 'archive/data/\.\./\.\./",
    ),
    "key that is a tuple": (
        b"}(" + w.sequence() + w.tensor() + b"u",
        "dict is a tuple",
    ),
    "key twice": (
        b"}(" + 2 * (w.text("y") + w.tensor()) + b"u",
        "the key 'y' is in a dict twice",
    ),
}


@pytest.mark.parametrize(("value", "message"), TENSORS.values(), ids=TENSORS)
def test_a_tensor_that_cannot_be_is_refused(tmp_path, value, message):
    path = w.write_zip(tmp_path / "a.pt", w.mapping(x=value))
    with pytest.raises(CheckpointError, match=f"a.pt: .*{message}"):
        torch_files.read(path)


def test_references_to_itself_and_deep_nesting_end(tmp_path):
    itself = b"]q\x01h\x01a"
    laughs = [b"(]q\x00"]
    laughs += [b"(" + 9 * (b"h%c" % i) + b"lq%c" % (i + 1) for i in range(99)]
    laughs = b"".join(laughs) + b"t"
    deep = b")" + 100_000 * b"\x85"
    for value in (itself, laughs, deep):
        path = w.write_zip(tmp_path / "a.pt", w.mapping(x=value, y=w.tensor()))
        found, ignored = torch_files.list_tensors(path)
        assert list(found) == ["y"]
        assert ignored == {"x": "no tensor"}
        path = w.write_zip(tmp_path / "b.pt", value)
        with pytest.raises(CheckpointError, match=r"b\.pt: holds no tensors by name"):
            torch_files.list_tensors(path)
    path = w.write_zip(tmp_path / "c.pt", b"}(" + deep + w.text("x") + b"u")
    with pytest.raises(CheckpointError, match="a key of a dict is a tuple"):
        torch_files.read(path)


def test_a_pickle_has_an_end(tmp_path, monkeypatch):
    path = w.write_zip(tmp_path / "a.pt", b"](" + 99 * b"N" + b"e")
    assert torch_files.read(path) == [None] * 99
    monkeypatch.setattr(torch_pickles, "MAX_OPERATIONS", 99)
    with pytest.raises(CheckpointError, match="a pickle of more than 99 operations"):
        torch_files.read(path)


@pytest.mark.parametrize(
    "value",
    [
        b"\x8d" + struct.pack("<Q", HUGE),
        b"X" + struct.pack("<I", 2**32 - 1),
        b"\x8b" + struct.pack("<i", 2**31 - 1),
        b"\x8b" + struct.pack("<i", -1),
        b"B" + struct.pack("<I", 2**31),
        b"\x95" + struct.pack("<Q", HUGE) + b"(",
        b"I" + 9999 * b"9" + b"\n",
    ],
)
def test_lengths_beyond_the_file_take_no_memory(tmp_path, value):
    path = w.write_zip(tmp_path / "a.pt", value)
    with pytest.raises(CheckpointError, match=r"a\.pt: a damaged pickle"):
        torch_files.read(path)


def test_a_place_in_the_memo_is_no_size(tmp_path):
    value = b"Nr" + struct.pack("<I", 2**32 - 1)
    assert torch_files.read(w.write_zip(tmp_path / "a.pt", value)) is None


# Damaged containers.


def test_an_archive_that_torch_would_not_write_is_refused(tmp_path):
    value = w.mapping(x=w.tensor())
    path = tmp_path / "a.pt"

    def check(message):
        with pytest.raises(CheckpointError, match=f"a.pt: .*{message}"):
            torch_files.read(str(path))

    w.write_zip(path, value, compression=zipfile.ZIP_DEFLATED)
    check("compressed or encrypted")
    bomb = w.mapping(x=w.tensor(w.storage(10**7), shape=(10**7,)))
    w.write_zip(path, bomb, [("0", bytes(4 * 10**7))], compression=zipfile.ZIP_DEFLATED)
    check("compressed or encrypted")
    with pytest.warns(UserWarning, match="Duplicate name"):
        w.write_zip(path, value, more=[("archive/byteorder", b"big")])
    check("two members of the zip archive have one name")
    w.write_zip(path, value, more=[("other/data.pkl", b"")])
    check("2 members data.pkl")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", b"<xml/>")
    check("0 members data.pkl")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", w.pickled(value))
        archive.writestr("a/byteorder", b"big")
    check("a/byteorder is not b'little'")
    w.write_zip(path, value)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the archive's list: encrypted
    path.write_bytes(data)
    check("compressed or encrypted")
    w.write_zip(path, value)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 42] = 7  # where data.pkl begins
    path.write_bytes(data)
    check("is not where the archive says")


def test_names_of_members_are_no_paths(tmp_path):
    (tmp_path / "in").mkdir()
    more = [("../x", b"x"), ("/tmp/x", b"x"), ("archive/../../y", b"y")]
    path = w.write_zip(tmp_path / "in/a.pt", w.mapping(x=w.tensor()), more=more)
    assert list(torch_files.list_tensors(path)[0]) == ["x"]
    assert [p.name for p in tmp_path.rglob("*")] == ["in", "a.pt"]


def test_a_legacy_file_that_torch_would_not_write_is_refused(tmp_path):
    value, path = w.mapping(x=w.tensor()), tmp_path / "a.pt"
    cases = {
        "not little-endian": {"machine": b"\x89"},
        "does not begin with its 4 elements": {"storages": [("0", 3, w.FLOATS)]},
        "ends beyond the file's end": {"storages": [("0", 4, w.FLOATS[:-1])]},
        "storages listed are not those": {"storages": [("1", 4, w.FLOATS)]},
        "are not those": {"storages": [("0", 4, w.FLOATS)] * 2},
    }
    for message, kwargs in cases.items():
        w.write_legacy(path, value, **kwargs)
        with pytest.raises(CheckpointError, match=f"a.pt: .*{message}"):
            torch_files.read(str(path))
    path.write_bytes(w.pickled(w.mapping(x=w.number(1))))
    with pytest.raises(CheckpointError, match="not one that torch.save wrote"):
        torch_files.read(str(path))


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_cut_file_is_damaged_wherever_it_is_cut(tmp_path, form):
    whole = (GOLDEN / f"{form}.pt").read_bytes()
    path = tmp_path / "a.pt"
    for size in range(4, len(whole), 37):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"a\.pt: "):
            torch_files.read(str(path))


def values_of(path):
    """Every tensor's values, as bytes."""
    content = torch_files.read(path)
    return {name: tensor.array().tobytes() for name, tensor in content.items()}


def test_a_changed_byte_is_found_or_changes_nothing(tmp_path):
    whole = (GOLDEN / "zip.pt").read_bytes()
    path, wanted = tmp_path / "a.pt", values_of(str(GOLDEN / "zip.pt"))
    found = 0
    for place in range(0, len(whole), 7):
        data = bytearray(whole)
        data[place] ^= 0x41
        path.write_bytes(data)
        try:
            assert values_of(str(path)) == wanted
        except CheckpointError:
            found += 1
    assert found > 100


def test_a_changed_byte_of_a_legacy_file_is_never_another_error(tmp_path):
    whole = (GOLDEN / "legacy.pt").read_bytes()
    path, refused = tmp_path / "a.pt", 0
    for place in range(0, len(whole), 3):
        data = bytearray(whole)
        data[place] ^= 0x41
        path.write_bytes(data)
        try:
            values_of(str(path))
        except CheckpointError:
            refused += 1
    assert refused > 300


def test_a_damaged_storage_is_named_when_it_is_read(tmp_path):
    path = w.write_zip(tmp_path / "a.pt", w.mapping(x=w.tensor()))
    data = pathlib.Path(path).read_bytes()
    pathlib.Path(path).write_bytes(data.replace(w.FLOATS, w.FLOATS[::-1]))
    found, _ = torch_files.list_tensors(path)
    with pytest.raises(CheckpointError, match="the 16 bytes from .* another CRC-32"):
        found["x"].read("x")


# Memory.

MEASURE = """
import pathlib, re, sys
from checkpoints import torch_files

def memory(key):
    return 1024 * int(re.search(key + r":\\s+(\\d+)", status.read_text())[1])

status = pathlib.Path("/proc/self/status")
torch_files.read(sys.argv[2])
pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = memory("VmRSS")
tensors, _ = torch_files.list_tensors(sys.argv[1])
held = [tensor.read(name) for name, tensor in tensors.items()]
total = sum(float(value.sum()) for value in held)
size = sum(value.nbytes for value in held)
print(total, size, (memory("VmHWM") - before) / size)
"""


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/clear_refs").exists(), reason="Linux")
@pytest.mark.parametrize("tensors", [1, 10])
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_peak_memory_is_little_more_than_the_tensors(tmp_path, dtype, tensors):
    """100 MB of tensors; the figure is peak memory over the size of the tensors."""
    kind = {"f4": "FloatStorage", "f2": "HalfStorage"}[dtype]
    count = 25_000_000 // tensors
    data = np.ones(count, dtype).tobytes()
    keys = [str(i) for i in range(tensors)]
    value = w.mapping(
        **{k: w.tensor(w.storage(count, kind, k), shape=(count,)) for k in keys}
    )
    large = w.write_zip(tmp_path / "large.pt", value, [(key, data) for key in keys])
    small = w.write_zip(tmp_path / "small.pt", w.mapping(x=w.tensor()))
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE, large, small],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    total, size, ratio = map(float, ended.stdout.split())
    assert (total, size) == (count * tensors, 4 * count * tensors)
    assert 0.9 < ratio < 1.2
