"""The systems by their --model_type, which one a config is of, and what each does."""

from typing import Any

from errors import UserError
from modeling import BertConfig, ElmoConfig, GptConfig, TaglmConfig
from systems.bert import BertSystem
from systems.elmo import ElmoSystem
from systems.gpt import GptSystem
from systems.system import SCRIPTS, System
from systems.taglm import TaglmSystem

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


def require(config: Any, ability: str) -> None:
    """Refuses an architecture whose system does not do what it is wanted for.

    Args:
      config: the architecture.
      ability: one of systems.system.SCRIPTS.

    Raises:
      UserError: names the systems that do.
    """
    system = _OF_CONFIG[type(config)]
    if ability not in system.does:
        able = [name for name, other in SYSTEMS.items() if ability in other.does]
        raise UserError(
            f"{system.model_type} does not {ability}: {SCRIPTS[ability]} takes "
            + ", ".join(sorted(able))
        )


def unread(system: System) -> dict[str, list[str]]:
    """Returns the flags that a system does not read, and which systems do."""
    flags = set().union(*(other.reads for other in SYSTEMS.values())) - system.reads
    return {
        flag: sorted(name for name, other in SYSTEMS.items() if flag in other.reads)
        for flag in sorted(flags)
    }
