"""NNLM's folders: our own, for the paper's code is not public."""

from checkpoints.own_folders import OwnFolders
from modeling.nnlm import SCOPE, NnlmConfig

WORDS = f"{SCOPE}/C"
FILES = OwnFolders(
    "nnlm",
    NnlmConfig,
    frozenset({WORDS, f"{SCOPE}/softmax/W", f"{SCOPE}/softmax/b"}),
)
