"""ULMFiT small enough to train in seconds."""

import dataclasses

from modeling.ulmfit import UlmfitConfig, UlmfitModel
from tokenization_ulmfit import SPECIAL

CONFIG = UlmfitConfig(
    embedding_size=16,
    hidden_size=20,
    num_layers=2,
    bptt=4,
    classifier_size=6,
    drop_mult=0.1,
)


def model(words, **kwargs):
    """Returns a language model of these words, behind the marks."""
    sized = dataclasses.replace(CONFIG, vocab_size=len(SPECIAL) + len(words))
    return UlmfitModel(sized, **kwargs)
