"""The models, in the order in which the field found them, one file a system.

`nnlm` (Bengio et al. 2003) learns a vector a word by predicting the next one;
`word2vec` (Mikolov et al. 2013) needs neither its hidden layer nor its softmax, `glove`
(Pennington et al. 2014) counts pairs before it learns, and `svd` only counts; `vectors`
puts a task on what any of them learnt (Kim 2014); `taglm` (Peters et al. 2017) tags
with the states of a language model a direction; `ulmfit` (Howard and Ruder 2018) trains
a language model itself on a task, under `ulmfit_classifier`; `elmo` (Peters et al.
2018) makes TagLM's from characters and uses all its layers, as do `elmo_reader`, which
is under a tagger, and `elmo_classifier`; `gpt` (Radford et al. 2018) decodes from left
to right; `bert` (Devlin et al. 2018) sees both sides; `mt_dnn` (Liu et al. 2019) is one
BERT for several tasks, pairs of which `san` may read over and over, and `xlm` (Lample
and Conneau 2019) is BERT's encoder for many languages. What several systems share is in
`layers`, and `tagger` puts tags on any of them.
"""

from modeling.bert import (
    BertClassifier,
    BertModel,
    BertPreTrainingModel,
    BertSpanExtractor,
)
from modeling.bert_config import BertConfig
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
from modeling.taglm import TaglmConfig, TaglmModel
from modeling.xlm import (
    XlmClassifier,
    XlmConfig,
    XlmLanguageModel,
    XlmModel,
    XlmSpanExtractor,
)

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
    "TaglmConfig",
    "TaglmModel",
    "XlmClassifier",
    "XlmConfig",
    "XlmLanguageModel",
    "XlmModel",
    "XlmSpanExtractor",
    "named_variables",
]
