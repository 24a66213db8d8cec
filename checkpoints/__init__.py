"""Checkpoints of several origins, recognised by their contents and loaded strictly.

One foreign format a file, over one table engine (`mapping`). Tensors go by the names
of the authors' TensorFlow variables, and come as float32 arrays, one at a time.
"""

from checkpoints.gpt import embedding_rows
from checkpoints.heads import Fit, Head, fit_new, fit_trained
from checkpoints.loading import LoadReport, Rows, initialize
from checkpoints.mapping import Checkpoint, CheckpointError, Outputs
from checkpoints.recognition import (
    check_sizes,
    find_weights,
    formats,
    open_checkpoint,
    read_beside,
    read_config,
    save_as,
    save_beside,
)

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Fit",
    "Head",
    "LoadReport",
    "Outputs",
    "Rows",
    "check_sizes",
    "find_weights",
    "formats",
    "embedding_rows",
    "fit_new",
    "fit_trained",
    "initialize",
    "open_checkpoint",
    "read_beside",
    "read_config",
    "save_as",
    "save_beside",
]
