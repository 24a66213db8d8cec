"""Parameter groups: which variables decay, how fast they learn, which are frozen."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class ParameterGroup:
    """How the variables whose names match `pattern` are trained.

    Attributes:
      pattern: regular expression, searched for in the variable's name.
      weight_decay: decoupled decay of matrices, multiplied by the learning rate.
      lr_multiplier: factor on the schedule's rate.
      trainable: False freezes the variables: no gradient, no optimizer slot.
      first_step: the update that trains them first; until then they stay as they are,
        and so does what the optimizer remembers of them.
    """

    pattern: str
    weight_decay: float = 0.0
    lr_multiplier: float = 1.0
    trainable: bool = True
    first_step: int = 0


def assign_groups(
    variables: Mapping[str, tf.Variable], groups: Sequence[ParameterGroup]
) -> dict[str, ParameterGroup]:
    """Gives every variable the first group that matches its name.

    Vectors do not decay in any system: biases, the gains of layer norms, the starts and
    ends of a CRF. The parent and OpenAI leave out the same, the one by name, the other
    by rank.

    Args:
      variables: name -> variable; only the shape is looked at.
      groups: in order of precedence.

    Returns:
      name -> group, of a vector without decay.

    Raises:
      UserError: a variable matches no group, or a group matches no variable.
    """
    assigned, used = {}, set()
    for name, variable in variables.items():
        found = [group for group in groups if re.search(group.pattern, name)]
        if not found:
            patterns = [group.pattern for group in groups]
            raise ValueError(f"no parameter group matches {name!r}: {patterns}")
        is_vector = len(variable.shape) < 2
        assigned[name] = (
            dataclasses.replace(found[0], weight_decay=0.0) if is_vector else found[0]
        )
        used.update(found)
    idle = [group.pattern for group in groups if group not in used]
    if idle:
        raise ValueError(f"parameter groups that match no variable: {idle}")
    return assigned


def depth_groups(
    depths: Sequence[tuple[str, float]], weight_decay: float
) -> list[ParameterGroup]:
    """Makes groups of variables that differ in their learning rate.

    Args:
      depths: pattern and factor on the learning rate of each; 0 freezes.
      weight_decay: of all.
    """
    return [
        ParameterGroup(pattern, weight_decay, factor, trainable=factor > 0)
        for pattern, factor in depths
    ]
