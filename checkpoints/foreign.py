"""What there is to say of a format of others' files; each format's module says it."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from checkpoints.mapping import Checkpoint


def _never(*_: Any) -> bool:
    return False


@dataclasses.dataclass(frozen=True)
class Format:
    """How files of others are recognised, opened and written.

    Formats are asked in turn whether something is theirs (see `recognition`); one that
    has no such files says no, which is the default.

    Attributes:
      name: as --output_format takes it.
      wanted: what to call its weights where nothing known was found; "" where they are
        called Hugging Face's, or a TensorFlow checkpoint.
      open: makes a Checkpoint of the path of a weights file; None where only a
        TensorFlow checkpoint is opened, by the system's own `files`.
      find: returns the path of the weights file in a folder, or None. A format whose
        files are safetensors' or torch.save's need not: those are found for all.
      is_file: tells a weights file by its first bytes.
      is_tensors: tells a file of safetensors or torch.save by its tensors' names, and
        by those of what stands beside them there.
      is_config: tells a configuration by its JSON values, and by the weights that it is
        read for, if they are known.
      read_config: makes the system's configuration of these values; takes the name of
        the file, for messages, as well.
      save: writes a folder: takes it, our name -> float32 array, and a Checkpoint with
        what stands beside; None where the format is only read.
    """

    name: str
    wanted: str = ""
    open: Callable[[str], Checkpoint] | None = None
    find: Callable[[str], str | None] = lambda folder: None
    is_file: Callable[[bytes], bool] = _never
    is_tensors: Callable[[Collection[str]], bool] = _never
    is_config: Callable[[Mapping[str, Any], Checkpoint | None], bool] = _never
    read_config: Callable[[Mapping[str, Any], str], Any] | None = None
    save: Callable[[str, Mapping[str, np.ndarray], Checkpoint], None] | None = None
