"""What torch.save writes, read without torch: `.pt`, `.pth`, `.bin`, and some `.pkl`.

    zip form (torch 1.6 and later)        legacy form
    <root>/data.pkl     the object        magic number, version, kind of machine
    <root>/byteorder                      the object
    <root>/data/<key>   a storage         the keys of the storages
                                          of each: number of elements, and the elements

The object is a pickle, which `torch_pickles` reads as data: where a tensor would be
made, a record of it is. Storages are mapped when they are read, so that a file takes no
more memory than the tensors that are held.
"""

import dataclasses
import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from checkpoints import files, torch_pickles
from checkpoints.mapping import CheckpointError
from checkpoints.torch_pickles import Inert, Name

WEIGHTS = "pytorch_model.bin"
INDEX = "pytorch_model.bin.index.json"

_ZIP = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct(
    "<4s22xHH"
)  # of a member: mark, lengths of name and extra
_ENCRYPTED = 1
_BAD_ARCHIVE = (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error)
_PICKLE = b"\x80"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_COUNT = struct.Struct("<q")  # before the bytes of a storage
# A tensor may show a storage several times over; a file of a few bytes that asks for
# gigabytes so is no model.
_MOST_TIMES_FILE_SIZE = 4
_CONVERTED = 1 << 20  # elements converted at once
_MOST_DIMENSIONS = 32
_MOST_ELEMENTS = 1 << 62

_STORAGES = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("i1"),
    "torch ByteStorage": np.dtype("u1"),
    "torch BoolStorage": np.dtype("?"),
    "torch.storage UntypedStorage": np.dtype("u1"),
}
_FLOATS = frozenset(dtype for dtype in _STORAGES.values() if dtype.kind in "fV")
# What stands beside tensors in training checkpoints: kept as records, but not read.
_INERT = (
    "_codecs encode",
    "argparse Namespace",
    "data_utils.metrics Metric",  # of MT-DNN, as the next six
    "data_utils.task_def DataFormat",
    "data_utils.task_def EncoderModelType",
    "data_utils.task_def TaskType",
    "data_utils.vocab Vocabulary",
    "experiments.exp_def TaskDef",
    "mt_dnn.loss LossCriterion",
    "numpy dtype",
    "numpy ndarray",
    "numpy._core.multiarray _reconstruct",
    "numpy._core.multiarray scalar",
    "numpy.core.multiarray _reconstruct",
    "numpy.core.multiarray scalar",
    "src.utils AttrDict",  # of XLM
    "torch Size",
    "torch device",
    "xlm.utils AttrDict",
)
# Under which names training checkpoints keep the model.
_MODEL_KEYS = ("model", "state_dict", "model_state_dict", "state")
_REPLICATED = "module."  # in front of every name, from torch's DataParallel


@dataclasses.dataclass
class Storage:
    """Elements of one type in a row, which several tensors may share.

    Attributes:
      path: the file.
      dtype: their type.
      count: int, how many.
      offset: int, of the first byte; the legacy form tells it after the object.
      crc: the CRC-32 that the bytes must have; None = the file says none.
    """

    path: str
    dtype: np.dtype
    count: int
    offset: int | None = None
    crc: int | None = None

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.count * self.dtype.itemsize

    def array(self) -> np.ndarray:
        """Maps the elements: [count], at least 1.

        Raises:
          CheckpointError: the bytes are not those that were written.
        """
        data = np.memmap(self.path, np.uint8, "r", self.offset, (self.size,))
        if self.crc is not None:
            if zlib.crc32(data) != self.crc:
                raise CheckpointError(
                    f"{self.path}: damaged: the {self.size} bytes from {self.offset} "
                    "on have another CRC-32 than the file says"
                )
            self.crc = None  # once is enough
        return data.view(self.dtype)


@dataclasses.dataclass(frozen=True)
class View:
    """Some of a storage's elements: all of them, but in very old files.

    Attributes:
      storage: whose.
      start: int, the first one.
      count: int.
    """

    storage: Storage
    start: int
    count: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor in a file, not read yet.

    Attributes:
      storage: what it shows.
      offset: int, its first element there.
      shape: of ints.
      strides: steps along the axes, in elements.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """Returns the values in their own type: a view of the file, to be read only.

        Raises:
          CheckpointError: the file is damaged.
        """
        dtype = self.storage.dtype
        if 0 in self.shape:
            return np.zeros(self.shape, dtype)
        steps = [stride * dtype.itemsize for stride in self.strides]
        start = self.offset * dtype.itemsize
        return np.ndarray(self.shape, dtype, self.storage.array(), start, steps)

    def read(self, name: str) -> np.ndarray:
        """Returns the values as float32.

        Args:
          name: the tensor's, for messages.

        Raises:
          CheckpointError: see `array`, or they are not of a float type.
        """
        if self.storage.dtype not in _FLOATS:
            raise CheckpointError(
                f"{self.storage.path}: {name} is {self.storage.dtype}, wanted a float "
                "type"
            )
        return self.array() if self.storage.dtype == np.float32 else self._converted()

    def _converted(self) -> np.ndarray:
        """Converts some rows after the other, so that few are there in both types."""
        values = np.empty(self.shape, np.float32)
        rows = np.atleast_1d(values)
        shape, strides = (self.shape, self.strides) if self.shape else ((1,), (0,))
        step = max(1, _CONVERTED // max(1, math.prod(shape[1:])))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            offset = self.offset + start * strides[0]
            part[...] = Tensor(self.storage, offset, part.shape, strides).array()
        return values


HEAD = 9  # bytes that `is_torch` looks at


def is_torch(head: bytes) -> bool:
    """Tells by a file's first bytes whether torch.save may have written it.

    Safetensors begin with a length, which may look like anything, and JSON.
    """
    return head.startswith((_ZIP, _PICKLE)) and head[8:9] != b"{"


def find_weights(folder: str) -> str | None:
    """Returns pytorch_model.bin of a folder, or its shards' index; None: neither.

    Raises:
      CheckpointError: there are both.
    """
    return files.find_one(folder, (WEIGHTS, INDEX))


def read(path: str) -> Any:
    """Reads the object that torch.save was given.

    Args:
      path: a local file.

    Returns:
      dicts, lists, tuples, strings and numbers, with a `Tensor` for every tensor, a
      `Storage` for a bare storage, and `Inert` for what is none of these.

    Raises:
      CheckpointError: not such a file, a damaged one, one that is larger when read than
        it has reason to be, or one that names anything that is not needed for these.
    """
    try:
        with open(path, "rb") as file:
            reader = _ZipReader if file.read(len(_ZIP)) == _ZIP else _LegacyReader
            file.seek(0)
            return reader(path, file).content
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None


class _Reader:
    """What the two forms share: the records of storages and tensors.

    Attributes:
      content: the object.
    """

    content: Any

    def __init__(self, path: str, file: BinaryIO):
        self.path, self.file = path, file
        self.size = os.fstat(file.fileno()).st_size
        self._storages: dict[str, Storage] = {}
        self._shown = 0  # bytes that all tensors show
        self._makers = {
            "collections OrderedDict": torch_pickles.ordered_dict,
            "torch._utils _rebuild_tensor": self._tensor,
            "torch._utils _rebuild_tensor_v2": self._tensor,
            "torch._utils _rebuild_parameter": lambda data, *_: data,
            **dict.fromkeys(_STORAGES),
            **{name: _inert_maker(name) for name in _INERT},
        }

    def load(self, file: BinaryIO) -> Any:
        """Reads one pickle."""
        return torch_pickles.load(file, self.path, self._makers, self._view)

    def find(self, storage: Storage, key: str) -> None:
        """Looks up where a new storage is."""
        raise NotImplementedError

    def refuse(self, problem: str) -> CheckpointError:
        """Returns the error that names the file."""
        return CheckpointError(f"{self.path}: {problem}")

    def _view(self, identity: Any) -> View:
        """Makes the record of a persistent id."""
        if not (type(identity) is tuple and len(identity) in (5, 6)):
            raise self.refuse("damaged: a persistent id that is no storage")
        kind, name, key, _, count, *view = identity
        if not (
            kind == "storage"
            and isinstance(name, Name)
            and name.text in _STORAGES
            and type(key) is str
        ):
            raise self.refuse("damaged: a persistent id that is no storage")
        self._check_counts("a storage's elements", [count])
        made = Storage(self.path, _STORAGES[name.text], count)
        storage = self._storages.setdefault(key, made)
        if storage is made:
            self.find(storage, key)
        elif (storage.dtype, storage.count) != (made.dtype, made.count):
            raise self.refuse(f"storage {key!r} is of two types or sizes")
        if view in ([], [None]):
            return View(storage, 0, count)
        _, start, length = view[0]  # the key of the view is not needed
        self._check_counts("a storage's view", [start, length])
        if start + length > count:
            raise self.refuse(f"a view ends beyond the {count} elements of its storage")
        return View(storage, start, length)

    def _tensor(self, view, offset, shape, strides, *_) -> Tensor:
        """Makes the record of a tensor; torch's further arguments tell of gradients."""
        if not (isinstance(view, View) and type(shape) is type(strides) is tuple):
            raise self.refuse("damaged: a tensor without storage, shape or strides")
        if len(shape) != len(strides) or len(shape) > _MOST_DIMENSIONS:
            raise self.refuse(
                f"a tensor of {len(shape)} dimensions and {len(strides)} strides"
            )
        self._check_counts(
            "a tensor's offset, shape and strides", [offset, *shape, *strides]
        )
        elements = math.prod(shape)
        last = offset + sum(
            (size - 1) * stride for size, stride in zip(shape, strides, strict=True)
        )
        if elements and last >= view.count:
            raise self.refuse(
                f"a tensor {list(shape)} ends at element {last} of a storage that has "
                f"{view.count}"
            )
        self._shown += elements * view.storage.dtype.itemsize
        if self._shown > _MOST_TIMES_FILE_SIZE * self.size:
            raise self.refuse(
                f"its tensors are more than {_MOST_TIMES_FILE_SIZE} times the "
                f"{self.size} bytes of the file"
            )
        return Tensor(view.storage, view.start + offset, shape, strides)

    def _check_counts(self, what: str, values: Sequence[Any]) -> None:
        for value in values:
            if type(value) is not int or not 0 <= value < _MOST_ELEMENTS:
                raise self.refuse(
                    f"{what} must be whole numbers from 0 to {_MOST_ELEMENTS}"
                )


def _inert_maker(name: str) -> torch_pickles.Maker:
    return lambda *args: Inert(name, args)


class _ZipReader(_Reader):
    """The form of torch 1.6 and later: an archive whose members are not compressed."""

    def __init__(self, path: str, file: BinaryIO):
        super().__init__(path, file)
        self._members = self._list_members()
        pickles = [name for name in self._members if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise self.refuse(
                f"a zip archive with {len(pickles)} members data.pkl; torch.save "
                "writes one"
            )
        self._root = pickles[0].removesuffix("data.pkl")
        order = f"{self._root}byteorder"  # of torch 2.1 and later
        if order in self._members and self._bytes(order) != b"little":
            raise self.refuse(f"{order} is not b'little': written on another machine")
        self.content = self.load(io.BytesIO(self._bytes(pickles[0])))

    def find(self, storage: Storage, key: str) -> None:
        """See `_Reader`."""
        name = f"{self._root}data/{key}"
        offset, info = self._find(name)
        if info.file_size != storage.size:
            raise self.refuse(
                f"{name} has {info.file_size} bytes, but its tensors say {storage.size}"
            )
        storage.offset = offset
        storage.crc = info.CRC or None  # 0 where torch was told to compute none

    def _list_members(self) -> dict[str, zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(self.file) as archive:
                found = archive.infolist()
        except _BAD_ARCHIVE as error:
            raise self.refuse(f"a damaged zip archive: {error}") from error
        members = {info.filename: info for info in found}
        if len(members) != len(found):
            raise self.refuse("two members of the zip archive have one name")
        return members

    def _find(self, name: str) -> tuple[int, zipfile.ZipInfo]:
        """Returns where a member's bytes begin, and what the archive says of it."""
        info = self._members.get(name)
        if info is None:
            raise self.refuse(f"has no member {name!r}")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
            raise self.refuse(
                f"{name} is compressed or encrypted; torch.save stores it as it is"
            )
        self.file.seek(info.header_offset)
        header = self.file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(_ZIP):
            raise self.refuse(f"damaged: {name} is not where the archive says")
        lengths = _LOCAL_HEADER.unpack(header)[1:]
        offset = info.header_offset + _LOCAL_HEADER.size + sum(lengths)
        if offset + info.file_size > self.size:
            raise self.refuse(f"damaged: {name} ends beyond the end of the file")
        return offset, info

    def _bytes(self, name: str) -> bytes:
        offset, info = self._find(name)
        self.file.seek(offset)
        data = self.file.read(info.file_size)
        if info.CRC not in (0, zlib.crc32(data)):
            raise self.refuse(f"damaged: {name} has another CRC-32 than the file says")
        return data


class _LegacyReader(_Reader):
    """The form before torch 1.6, which it still writes on request."""

    def __init__(self, path: str, file: BinaryIO):
        super().__init__(path, file)
        if self.load(file) != _LEGACY_MAGIC or self.load(file) != _LEGACY_VERSION:
            raise self.refuse("a pickle, but not one that torch.save wrote")
        machine = self.load(file)
        if type(machine) is not dict or machine.get("little_endian") is not True:
            raise self.refuse("written on a machine that is not little-endian")
        self.content = self.load(file)
        self._place(self.load(file))

    def find(self, storage: Storage, key: str) -> None:
        """See `_Reader`: `_place` does, for all."""

    def _place(self, keys: Any) -> None:
        """Finds the storages, which follow in the order of `keys`."""
        if type(keys) is not list or not all(type(key) is str for key in keys):
            raise self.refuse("damaged: no list of storages after the object")
        if len(set(keys)) != len(keys) or set(keys) != set(self._storages):
            raise self.refuse(
                "damaged: the storages listed are not those of the tensors"
            )
        for key in keys:
            storage = self._storages[key]
            count = self.file.read(_COUNT.size)
            if count != _COUNT.pack(storage.count):
                raise self.refuse(
                    f"damaged: storage {key!r} does not begin with its "
                    f"{storage.count} elements"
                )
            storage.offset = self.file.tell()
            if self.file.seek(storage.size, os.SEEK_CUR) > self.size:
                raise self.refuse(
                    f"damaged: storage {key!r} ends beyond the file's end"
                )


def list_tensors(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Finds a model's tensors: the object itself, or a training's `model`.

    Args:
      path: a local file.

    Returns:
      Name -> tensor, and the name of anything else in the file -> reason to ignore it.

    Raises:
      CheckpointError: see `read`, or there are no tensors by name.
    """
    content = read(path)
    beside: dict[str, str] = {}
    if type(content) is dict:
        found = [key for key in _MODEL_KEYS if _has_tensors(content.get(key))]
        if len(found) == 1:
            reason = f"stands beside {found[0]!r}, the model"
            beside = {str(key): reason for key in content if key != found[0]}
            content = content[found[0]]
    if not _has_tensors(content):
        raise CheckpointError(
            f"{path}: holds no tensors by name; wanted a dict of them, or one under "
            f"{', '.join(_MODEL_KEYS)}"
        )
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)}
    others = {str(k): "no tensor" for k in content if k not in tensors}
    if all(name.startswith(_REPLICATED) for name in tensors):
        tensors = {k.removeprefix(_REPLICATED): v for k, v in tensors.items()}
    return tensors, others | beside


def _has_tensors(value: Any) -> bool:
    return (
        type(value) is dict
        and all(type(key) is str for key in value)
        and any(isinstance(item, Tensor) for item in value.values())
    )
