"""The models, in the order in which the field found them, one file a system.

`elmo` (Peters et al. 2018) joins a recurrent language model a direction, and
`elmo_classifier` uses its vectors; `gpt` (Radford et al. 2018) decodes from left to
right; `bert` (Devlin et al. 2018) sees both sides. What several systems share is in
`layers`.
"""

from modeling.bert import (
    BertClassifier,
    BertConfig,
    BertModel,
    BertPreTrainingModel,
    BertSpanExtractor,
)
from modeling.elmo import ElmoLanguageModel, ElmoModel
from modeling.elmo_classifier import ElmoClassifier
from modeling.elmo_config import ElmoConfig
from modeling.gpt import (
    GptClassifier,
    GptLanguageModel,
    GptModel,
    GptSpanExtractor,
)
from modeling.gpt_config import GptConfig
from modeling.layers.base import named_variables
from modeling.layers.heads import masked_lm_loss, next_sentence_loss

__all__ = [
    "BertClassifier",
    "BertConfig",
    "BertModel",
    "BertPreTrainingModel",
    "BertSpanExtractor",
    "ElmoClassifier",
    "ElmoConfig",
    "ElmoLanguageModel",
    "ElmoModel",
    "GptClassifier",
    "GptConfig",
    "GptLanguageModel",
    "GptModel",
    "GptSpanExtractor",
    "masked_lm_loss",
    "named_variables",
    "next_sentence_loss",
]
