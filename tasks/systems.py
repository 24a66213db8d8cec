"""The systems by their --model_type, and which one a config is of."""

from typing import Any

from modeling import BertConfig
from tasks.bert import BertSystem
from tasks.system import System

SYSTEMS = {system.model_type: system for system in (BertSystem,)}
_OF_CONFIG = {BertConfig: BertSystem}


def make_system(config: Any, *args, **kwargs) -> System:
    """Returns the system of an architecture; the other arguments are System's."""
    return _OF_CONFIG[type(config)](config, *args, **kwargs)
