"""ULMFiT small enough to train in seconds."""

from modeling.ulmfit import UlmfitConfig

CONFIG = UlmfitConfig(
    embedding_size=16,
    hidden_size=20,
    num_layers=2,
    bptt=4,
    classifier_size=6,
    drop_mult=0.1,
)
