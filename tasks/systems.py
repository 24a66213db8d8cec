"""The systems by their --model_type, and which one a config is of."""

from typing import Any

from modeling import BertConfig, ElmoConfig, GptConfig, TaglmConfig
from tasks.bert import BertSystem
from tasks.elmo import ElmoSystem
from tasks.gpt import GptSystem
from tasks.system import System
from tasks.taglm import TaglmSystem

_OF_CONFIG = {
    BertConfig: BertSystem,
    ElmoConfig: ElmoSystem,
    GptConfig: GptSystem,
    TaglmConfig: TaglmSystem,
}
SYSTEMS = {system.model_type: system for system in _OF_CONFIG.values()}


def make_system(config: Any, *args, **kwargs) -> System:
    """Returns the system of an architecture; the other arguments are System's."""
    return _OF_CONFIG[type(config)](config, *args, **kwargs)
