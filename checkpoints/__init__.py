"""Checkpoints of several origins, recognised by their contents and loaded strictly.

One foreign format a file, over one table engine (`mapping`). Tensors go by the names
that google-research/bert released, and come as float32 arrays, one at a time.
"""

from checkpoints.loading import LoadReport, initialize
from checkpoints.mapping import Checkpoint, CheckpointError
from checkpoints.recognition import (
    FORMATS,
    check_sizes,
    open_checkpoint,
    read_config,
    save_as,
)

__all__ = [
    "FORMATS",
    "Checkpoint",
    "CheckpointError",
    "LoadReport",
    "check_sizes",
    "initialize",
    "open_checkpoint",
    "read_config",
    "save_as",
]
