"""The models, in the order in which the field found them, one file a system.

`bert` (Devlin et al. 2018) is the first; what several systems share is in `layers`.
"""

from modeling.bert import BertConfig

__all__ = ["BertConfig"]
