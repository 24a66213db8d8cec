"""The main table: who takes part, in which tasks, and what came of it.

An entrant is a system with its seeds and minutes, or released weights. A cell is an
entrant on a task, by frozen vectors under one head or fine-tuned by its own recipe.
Released weights are read, and fine-tuned if that is asked for: once with MiniLM takes
longer than a pre-training of a system here.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lineage.runner import Outcome
from lineage.setting import Model, Setting
from lineage.stages import HERE, Input, Stage
from lineage.systems import BY_NAME, SYSTEMS, System

FROZEN, TUNED = "frozen", "fine-tuned"
EQUAL, LONGER, RELEASED = "equal minutes", "8 times the minutes", "released weights"
RELEASED_TUNED = "released weights fine-tuned, too"
LONGER_FACTOR = 8
LONGER_SYSTEMS = ("skip_gram", "elmo", "bert")
# Who takes part twice, and where its seeds begin then.
AGAIN, AGAIN_NAME, AGAIN_SEED = "bert", "bert again", 100


@dataclasses.dataclass(frozen=True)
class Task:
    """What is scored.

    Attributes:
      name: for --tasks.
      title: as it is shown.
      data: of lineage.data.
      labels: how many are learnt from, see Setting.data.
      unit: whose vectors are taken: "lines" or "words".
      tuned: which method of Setting fine-tunes; None: nothing is learnt from labels.
      metric: what the score is.
    """

    name: str
    title: str
    data: str
    labels: int | None
    unit: str
    tuned: str | None
    metric: str


TASKS = (
    Task("bbc4", "BBC, 4 labels", "bbc", 4, "lines", "classified", "accuracy"),
    Task("bbc20", "BBC, 20 labels", "bbc", 20, "lines", "classified", "accuracy"),
    Task("bbc", "BBC, all labels", "bbc", None, "lines", "classified", "accuracy"),
    Task(
        "sst2", "SST-2, 1,000 labels", "sst2", 1000, "lines", "classified", "accuracy"
    ),
    Task(
        "conll", "CoNLL-2003, 2,000 sentences", "conll", 2000, "words", "tagged", "F1"
    ),
    Task("sts", "STS", "sts", None, "lines", None, "Spearman"),
    Task("sick", "SICK", "sick", None, "lines", None, "Spearman"),
    Task("wordsim", "WordSim-353", "wordsim", None, "words", None, "Spearman"),
    Task("simlex", "SimLex-999", "simlex", None, "words", None, "Spearman"),
)
NEEDS_DATA_DIR = ("sst2", "conll", "sts", "sick")


@dataclasses.dataclass(frozen=True)
class Entrant:
    """Who takes part.

    Attributes:
      name: tells it from all others.
      title: as it is shown.
      panel: EQUAL, LONGER or RELEASED.
      system: by whose recipes it is read and fine-tuned.
      models: its pre-trainings; empty: it has none.
      prefix: stands before each text whose vector is taken.
      is_tuned: whether it is fine-tuned, too.
    """

    name: str
    title: str
    panel: str
    system: System
    models: tuple[Model, ...]
    prefix: str = ""
    is_tuned: bool = True


@dataclasses.dataclass(frozen=True)
class Cell:
    """One figure.

    Attributes:
      entrant: whose.
      task: of what.
      column: FROZEN or TUNED.
      grid: [pre-trainings][task seeds], stages and the folder in theirs that has the
        table of predictions.
    """

    entrant: Entrant
    task: Task
    column: str
    grid: tuple[tuple[tuple[Stage, str], ...], ...]

    @property
    def stages(self) -> list[Stage]:
        """All that it is made of."""
        return [stage for row in self.grid for stage, _ in row]


def entrants(setting: Setting, systems: Sequence[str], panels: Sequence[str]):
    """Lists who takes part, in the order of the table.

    Args:
      setting: the run's.
      systems: names of those that are pre-trained here.
      panels: of LONGER, RELEASED and RELEASED_TUNED.
    """
    found = []
    for system in SYSTEMS:
        if system.name in systems:
            found.append(_trained(setting, system, system.name, system.title))
            if system.name == AGAIN:
                again = f"{system.title}, again"
                found.append(_trained(setting, system, AGAIN_NAME, again, AGAIN_SEED))
    if LONGER in panels:
        for name in LONGER_SYSTEMS:
            if name in systems:
                system = BY_NAME[name]
                minutes = setting.minutes * LONGER_FACTOR
                longer = dataclasses.replace(setting, minutes=minutes)
                made = _trained(longer, system, f"{name} longer", system.title)
                found.append(dataclasses.replace(made, panel=LONGER))
    if RELEASED in panels:
        for name, weights in setting.sources.released.items():
            system, models = BY_NAME[weights.system], (Input(weights.path),)
            made = Entrant(name, weights.title, RELEASED, system, models)
            found.append(
                dataclasses.replace(
                    made, prefix=weights.prefix, is_tuned=RELEASED_TUNED in panels
                )
            )
    return found


def _trained(setting, system, name, title, first=0):
    models = ()
    if system.text or system.base:
        models = tuple(
            setting.pretrained(system.name, first + seed) for seed in setting.seeds
        )
    return Entrant(name, title, EQUAL, system, models)


def cells(
    setting: Setting, entered: Sequence[Entrant], tasks: Sequence[str]
) -> list[Cell]:
    """Makes all cells that there are: a system need not do everything."""
    return [
        cell
        for entrant in entered
        for task in TASKS
        if task.name in tasks
        for cell in _cells(setting, entrant, task)
    ]


def _cells(setting: Setting, entrant: Entrant, task: Task) -> Iterator[Cell]:
    system = entrant.system
    if system.frozen is not None:
        rows = (_probe(setting, entrant, model, task) for model in entrant.models)
        yield Cell(entrant, task, FROZEN, tuple(rows))
    elif not entrant.models and task.tuned == "classified":
        yield Cell(entrant, task, FROZEN, (_probe(setting, entrant, None, task),))
    recipe = {"classified": system.classify, "tagged": system.tag}.get(task.tuned)
    if recipe is not None and entrant.is_tuned:
        rows = (_tuned(setting, entrant, model, task) for model in entrant.models)
        yield Cell(entrant, task, TUNED, tuple(rows))


def _probe(setting, entrant, model, task):
    """Scores frozen vectors of one model, or a bag of words, for all task seeds."""
    drawn = setting.task_seeds if task.labels else setting.task_seeds[:1]
    data = [setting.data(task.data, task.labels, seed) for seed in drawn]
    flags = {"data": tuple(stage.folder for stage in data), "output_dir": HERE}
    if model is not None:
        everything = setting.data(task.data)
        if task.unit == "lines":
            read = setting.data(task.data, prefix=entrant.prefix) / "texts.txt"
            made = setting.line_vectors(entrant.system.name, model, read)
        else:
            read = everything / "sentences.txt"
            made = setting.word_vectors(entrant.system.name, model, read)
        flags["vectors"] = made / "vectors.npy"
    seconds = 60 if task.data == "conll" else 10 * len(drawn)
    stage = Stage(f"{entrant.name} {task.name}", "lineage.probe", flags, seconds)
    return tuple((stage, str(i)) for i in range(len(drawn)))


def _tuned(setting, entrant, model, task):
    """Fine-tunes one model, for each task seed."""
    name = entrant.system.name
    made = []
    for seed in setting.task_seeds:
        data = setting.data(task.data, task.labels, seed if task.labels else 0)
        if task.tuned == "classified":
            epochs = {"num_train_epochs": entrant.system.epochs[task.labels]}
            stage = setting.classified(name, model, data, seed, epochs)
        else:
            stage = setting.tagged(name, model, data, seed)
        made.append((stage, ""))
    return tuple(made)


def rows(found: Sequence[Cell], outcome: Outcome) -> list[dict[str, Any]]:
    """The table: a row a cell, with its interval; score None where a stage failed."""
    from lineage import scores, statistics

    made = []
    for cell in found:
        row = {
            "panel": cell.entrant.panel,
            "name": cell.entrant.name,
            "title": cell.entrant.title,
            "year": cell.entrant.system.year,
            "task": cell.task.name,
            "column": cell.column,
            "metric": cell.task.metric,
            "pretrainings": len(cell.grid),
            "task_seeds": len(cell.grid[0]),
            "score": None,
            "low": None,
            "high": None,
        }
        if outcome.is_done(*cell.stages):
            estimate = statistics.mean(_grid(cell, outcome, scores))
            row |= _percent(estimate, "score")
        made.append(row)
    return made


def _grid(cell, outcome, scores):
    return [
        [scores.read(outcome.folder(stage) / sub) for stage, sub in row]
        for row in cell.grid
    ]


def _percent(estimate, value):
    names = {value: estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: 100 * number for name, number in names.items()}


def differences(found: Sequence[Cell], outcome: Outcome) -> list[dict[str, Any]]:
    """Paired differences of neighbours in time, and of a system from itself."""
    from lineage import scores, statistics

    made = []
    for before, after in _neighbours(found):
        if outcome.is_done(*before.stages, *after.stages):
            grids = (_grid(cell, outcome, scores) for cell in (before, after))
            estimate = statistics.difference(*grids)
            made.append(
                {
                    "from": before.entrant.title,
                    "to": after.entrant.title,
                    "task": after.task.name,
                    "column": after.column,
                    **_percent(estimate, "difference"),
                    "shown": not estimate.holds_zero,
                    "pretrainings": min(
                        len(cell.grid)
                        for cell in (before, after)
                        if cell.entrant.models
                    ),
                }
            )
    return made


def _neighbours(found: Sequence[Cell]) -> Iterator[tuple[Cell, Cell]]:
    """Pairs of cells of one column, one after the other; the A/A pair last."""
    columns: dict[tuple[str, str], list[Cell]] = {}
    for cell in found:
        if cell.entrant.panel == EQUAL:
            columns.setdefault((cell.task.name, cell.column), []).append(cell)
    twice = []
    for column in columns.values():
        named: Mapping[str, Cell] = {cell.entrant.name: cell for cell in column}
        if AGAIN_NAME in named:
            twice.append((named[AGAIN], named[AGAIN_NAME]))
        once = [cell for cell in column if cell.entrant.name != AGAIN_NAME]
        yield from zip(once, once[1:], strict=False)
    yield from twice


def needs_data_dir(system: System) -> bool:
    """Whether a system can do nothing with what packages have."""
    does_classes = system.classify is not None or system.frozen is not None
    return system.multitask is not None or (
        system.base is not None and not does_classes
    )
