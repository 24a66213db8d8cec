"""Torch's files put together by hand, byte by byte: what torch would never write, too.

A value is the part of a pickle that leaves it on the stack.
"""

import struct
import zipfile

import numpy as np

FLOATS = struct.pack("<4f", 1, 2, 3, 4)


def text(value):
    """A string."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    """A whole number of any size."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def sequence(*values):
    """A tuple."""
    return b"(" + b"".join(values) + b"t"


def mapping(**items):
    """A dict."""
    return b"}(" + b"".join(text(k) + v for k, v in items.items()) + b"u"


def name(module, attribute):
    """A global."""
    return f"c{module}\n{attribute}\n".encode()


def call(function, *args):
    """What REDUCE makes."""
    return function + sequence(*args) + b"R"


def storage(count=4, kind="FloatStorage", key="0", *more):
    """A storage by its persistent id."""
    parts = [text("storage"), name("torch", kind), text(key), text("cpu")]
    return sequence(*parts, number(count), *more) + b"Q"


def tensor(of=None, offset=0, shape=(4,), strides=(1,)):
    """A tensor."""
    return call(
        name("torch._utils", "_rebuild_tensor_v2"),
        storage() if of is None else of,
        number(offset),
        sequence(*map(number, shape)),
        sequence(*map(number, strides)),
        b"\x89",
        call(name("collections", "OrderedDict")),
    )


def pickled(value, protocol=2):
    """A whole pickle."""
    return b"\x80" + bytes([protocol]) + value + b"."


def write_zip(path, value, storages=(("0", FLOATS),), more=(), **kwargs):
    """Writes the form of today; `more`: (member, bytes); returns the path, a str."""
    with zipfile.ZipFile(path, "w", **kwargs) as archive:
        archive.writestr("archive/data.pkl", pickled(value))
        archive.writestr("archive/byteorder", b"little")
        for key, data in storages:
            archive.writestr(f"archive/data/{key}", data)
        for member, data in more:
            archive.writestr(member, data)
    return str(path)


def write_state(path, tensors):
    """Writes name -> float32 array; returns the path as a string."""
    state, storages = {}, []
    for i, (key, value) in enumerate(tensors.items()):
        found = storage(value.size, key=str(i))
        strides = [stride // 4 for stride in np.ascontiguousarray(value).strides]
        state[key] = tensor(found, 0, value.shape, strides)
        storages.append((str(i), value.astype("<f4").tobytes()))
    return write_zip(path, mapping(**state), storages)


def write_legacy(path, value, storages=(("0", 4, FLOATS),), machine=b"\x88"):
    """Writes the old form; `machine`: whether it is little-endian."""
    keys = b"](" + b"".join(text(key) for key, _, _ in storages) + b"e"
    parts = [
        pickled(number(0x1950A86A20F9469CFC6C)),
        pickled(number(1001)),
        pickled(mapping(little_endian=machine)),
        pickled(value),
        pickled(keys),
    ]
    parts += [struct.pack("<q", count) + data for _, count, data in storages]
    path.write_bytes(b"".join(parts))
    return str(path)
