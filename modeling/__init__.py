"""The models, in the order in which the field found them, one file a system.

`bert` (Devlin et al. 2018) is the first; what several systems share is in `layers`.
"""

from modeling.bert import (
    BertClassifier,
    BertConfig,
    BertModel,
    BertPreTrainingModel,
    BertSpanExtractor,
)
from modeling.layers.base import named_variables
from modeling.layers.heads import masked_lm_loss, next_sentence_loss

__all__ = [
    "BertClassifier",
    "BertConfig",
    "BertModel",
    "BertPreTrainingModel",
    "BertSpanExtractor",
    "masked_lm_loss",
    "named_variables",
    "next_sentence_loss",
]
