"""About how long stages take, of one core: for budgets, order and the time left."""

from lineage.stages import Output, Stage
from lineage.systems import BY_NAME, Flags

# Of each task: how many texts it scores, how many have vectors, and how long they are,
# an article of BBC News being 1. They say about how long stages take.
_SIZES = {
    "bbc": (426, 1913, 1.0),
    "sst2": (872, 5872, 0.1),
    "conll": (3250, 7250, 0.15),
    "sts": (0, 4000, 0.1),
    "sick": (0, 4000, 0.1),
    "wordsim": (0, 4000, 0.4),
    "simlex": (0, 9000, 0.4),
}
_START = 10.0  # seconds in which a script begins and ends
_READING = 0.3  # the share of an update that reading alone takes


def tuning(name: str, data: Stage, recipe: Flags) -> float:
    """About how long a fine-tuning takes."""
    scored, there, length = _SIZES[data.flags["task"]]
    labels = data.flags.get("labels", there - scored)
    if data.flags["task"] == "bbc" and "labels" in data.flags:
        labels *= 5  # classes
    learnt = labels * recipe.get("num_train_epochs", 3)
    return _START + BY_NAME[name].pace * length * (learnt + _READING * scored)


def reading(pace: float, lines: Output) -> float:
    """About how long the vectors of a task's texts take."""
    _, there, length = _SIZES[lines.stage.flags["task"]]
    return _START + pace * length * _READING * there
