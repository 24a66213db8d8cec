"""What a budget holds: which systems, tasks and seeds, and how long a pre-training."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from errors import UserError
from lineage import contest, runner
from lineage.arguments import EXPERIMENTS
from lineage.contest import Cell, Entrant
from lineage.experiments import Experiment, Made
from lineage.setting import Setting, Sources
from lineage.systems import SYSTEMS

# Seconds of one core that an update takes, or an epoch of word vectors, measured on an
# AMD EPYC (Zen 5): they tell before any work whether a budget can hold a run. Then each
# machine measures its own.
RATES = {
    "nnlm": 0.07,
    "skip_gram": 1.5,
    "cbow": 0.9,
    "glove": 1.1,
    "ulmfit": 0.9,
    "elmo": 0.25,
    "gpt": 0.5,
    "bert": 0.25,
    "xlm": 0.4,
}
_EVERYTHING = 90  # minutes of a budget from which on all is compared
_ALL_TASKS = 300  # the same, of all tasks, panels and fine-tunings
_COSTLY = ("bbc", "sst2", "sick", "simlex")
_LEAST = 0.5  # minutes of a pre-training
_MOST = 600.0
_MARGIN = 0.92  # of a budget, that is planned with
_CALIBRATION = 35.0  # seconds of one core, a system
_UNITS = {"m": 60, "h": 3600}


@dataclasses.dataclass(frozen=True)
class Choice:
    """What is compared.

    Attributes:
      systems: names.
      tasks: names.
      panels: see contest.
      seeds: pre-trainings of each system.
      task_seeds: draws of labels, and fine-tunings.
      experiments: names.
    """

    systems: tuple[str, ...]
    tasks: tuple[str, ...]
    panels: tuple[str, ...]
    seeds: int
    task_seeds: int
    experiments: tuple[str, ...] = ()


_ALL = tuple(system.name for system in SYSTEMS)
_BY_NAME = {experiment.name: experiment for experiment in EXPERIMENTS}
# By the minutes of a budget, from which on it is chosen.
DEFAULTS = {
    0: Choice(("bow", "skip_gram", "bert"), ("bbc20", "wordsim"), (), 1, 3),
    25: Choice(
        ("bow", "svd", "skip_gram", "glove", "elmo", "gpt", "bert"),
        ("bbc20", "wordsim", "simlex"),
        (),
        1,
        3,
    ),
    _EVERYTHING: Choice(_ALL, (), (), 1, 3),
}


def seconds_of(budget: str) -> float:
    """Reads 10m, 90m or 2h.

    Raises:
      UserError: it is something else.
    """
    if not re.fullmatch(r"[0-9]{1,4}[mh]", budget) or int(budget[:-1]) == 0:
        raise UserError(f"--budget={budget}: wanted minutes or hours, as in 10m or 2h")
    return int(budget[:-1]) * float(_UNITS[budget[-1]])


def default(budget: str, data_dir: str | None) -> Choice:
    """What is compared where the user does not say."""
    minutes = seconds_of(budget) / 60
    chosen = DEFAULTS[max(least for least in DEFAULTS if least <= minutes)]
    if minutes < _EVERYTHING:
        return chosen
    tasks = [task.name for task in contest.TASKS]
    panels = (contest.LONGER, contest.RELEASED, contest.RELEASED_TUNED)
    if minutes < _ALL_TASKS:
        left = _COSTLY if data_dir else _COSTLY[:1]
        tasks = [name for name in tasks if name not in left]
        panels = (contest.RELEASED,) if data_dir else panels[:2]
    if not data_dir:
        tasks = [name for name in tasks if name not in contest.NEEDS_DATA_DIR]
    known = [e.name for e in EXPERIMENTS if data_dir or not e.needs_data_dir]
    return dataclasses.replace(
        chosen, tasks=tuple(tasks), panels=panels, experiments=tuple(known)
    )


@dataclasses.dataclass(frozen=True)
class Plan:
    """All of a run.

    Attributes:
      setting: with the minutes of a pre-training.
      entered: who takes part.
      cells: the table's.
      experiments: with their stages.
    """

    setting: Setting
    entered: Sequence[Entrant]
    cells: Sequence[Cell]
    experiments: Sequence[tuple[Experiment, Made]]

    @property
    def stages(self):
        """Those that table and pictures are read from."""
        found = [stage for cell in self.cells for stage in cell.stages]
        for _, made in self.experiments:
            found += made.values()
        return found

    @property
    def seconds(self) -> float:
        """Of one core, without the calibration."""
        return sum(stage.seconds for stage in runner.with_needs(self.stages))


def make(
    sources: Sources, choice: Choice, rates: Mapping[str, float], minutes: float
) -> Plan:
    """Makes a plan of so many minutes a pre-training."""
    seeds, task_seeds = (tuple(range(n)) for n in (choice.seeds, choice.task_seeds))
    setting = Setting(sources, minutes, rates, seeds, task_seeds)
    entered = contest.entrants(setting, choice.systems, choice.panels)
    cells = contest.cells(setting, entered, choice.tasks)
    experiments = [_BY_NAME[name] for name in choice.experiments]
    made = [(experiment, experiment.stages(setting)) for experiment in experiments]
    return Plan(setting, entered, cells, made)


def within(
    budget: str, sources: Sources, choice: Choice, rates: Mapping[str, float]
) -> Plan:
    """Makes the plan of the longest pre-trainings that a budget holds.

    Args:
      budget: wall time of two cores.
      sources: where data is.
      choice: what is compared.
      rates: see Setting.

    Raises:
      UserError: it does not hold pre-trainings of half a minute; says what it would.
    """
    calibrated = sum(name in RATES for name in choice.systems)
    wanted = seconds_of(budget) * runner.JOBS * _MARGIN - calibrated * _CALIBRATION
    least = make(sources, choice, rates, _LEAST)
    if least.seconds > wanted:
        needed = (least.seconds + calibrated * _CALIBRATION) / runner.JOBS / _MARGIN
        raise UserError(
            f"--budget={budget} does not hold {len(choice.systems)} systems on "
            f"{len(choice.tasks)} tasks, {choice.seeds} x {choice.task_seeds} seeds "
            f"and {len(choice.panels)} further panels, with {_LEAST} minutes a "
            "pre-training: wanted at least "
            f"{-(-needed // 60):.0f}m, or fewer --systems, --tasks, --seeds, "
            "--task_seeds or --panels"
        )
    low, high = _LEAST, _MOST
    while high - low > 0.01:
        middle = (low + high) / 2
        fits = make(sources, choice, rates, middle).seconds <= wanted
        low, high = (middle, high) if fits else (low, middle)
    return make(sources, choice, rates, round(low, 2))
