"""The article's arguments as experiments: two senses, layers, masks, directions.

Each lists the stages that it reads, most of which the main table has, too, and turns
what they left into rows as lineage.pictures draws them. What loads TensorFlow is
imported late: the processes of stages would inherit its memory.
"""

import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lineage import contest, tables
from lineage.code import ROOT
from lineage.contest import EQUAL, TUNED, Cell, Entrant, Task
from lineage.experiments import Experiment, Made, Rows
from lineage.runner import Outcome
from lineage.setting import Setting
from lineage.stages import HERE, Input, Stage, Value
from lineage.systems import BY_NAME

# Two senses of a word.
_READ = ("skip_gram", "elmo", "gpt", "bert")
_NEAREST, _SILHOUETTE = "1-NN accuracy", "silhouette"
_SHOWN = (  # panel, column of measures.csv, form, name
    (_NEAREST, "nearest", "written", "as written"),
    (_NEAREST, "nearest", "hidden", "telling words hidden"),
    (_NEAREST, "shuffled", "written", "senses shuffled"),
    (_SILHOUETTE, "silhouette", "written", "as written"),
    (_SILHOUETTE, "silhouette", "hidden", "telling words hidden"),
)
_DRAWN = 3  # words, of those that occur most
_POINTS = ("skip_gram", "elmo", "gpt", "bert", "minilm")  # whose are drawn, if there
# Which layer: flags besides the system's own.
_MIXED = {"elmo": {}, "bert": {"layer_mix": True, "learning_rate": 5e-3}}
_SENTENCES = 2000  # of a tagging
# What becomes of the pieces that BERT is to guess (Devlin et al. 2018, appendix C.2).
_AS_IN_THE_PAPER = "80 % [MASK], 10 % any, 10 % kept"
_MASKS = {
    _AS_IN_THE_PAPER: (0.8, 0.1, 0.1),
    "100 % [MASK]": (1.0, 0.0, 0.0),
    "80 % any, 20 % kept": (0.0, 0.8, 0.2),
}
# Both directions.
_DIRECTIONS = {"gpt": "GPT: left to right", "bert": "BERT: both sides"}
_ANSWERS = Task(
    "xquad", "XQuAD, 1,000 questions", "xquad", 1000, "words", "answered", "F1"
)
_ANSWERING = {
    "max_seq_length": 256,
    "doc_stride": 96,
    "train_batch_size": 16,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "num_train_epochs": 6,
}


def _sense_stages(setting: Setting) -> Made:
    """A stage for each system and seed, the bag of the words around among them."""
    made = {("bow", 0): _senses(setting, "bow", None)}
    for name in _READ:
        for seed in setting.seeds:
            folder = setting.pretrained(name, seed).folder
            made[name, seed] = _senses(setting, name, folder)
    for name, weights in setting.sources.released.items():
        made[name, 0] = _senses(setting, name, Input(weights.path))
    return made


def _senses(setting: Setting, name: str, checkpoint: Value | None) -> Stage:
    flags = {
        "input_file": setting.text / "text.txt",
        "senses_file": Input(str(ROOT / "configs/lineage/senses.yml")),
        "output_dir": HERE,
    }
    if checkpoint is not None:
        flags["init_checkpoint"] = checkpoint
    return Stage(f"{name} senses", "lineage.polysemy", flags, seconds=40)


def _sense_rows(setting: Setting, made: Made, outcome: Outcome) -> Mapping[str, Rows]:
    names = list(dict.fromkeys(name for name, _ in made))
    rows, points = [], []
    for name in names:
        folders = [outcome.folder(s) for (n, _), s in made.items() if n == name]
        found = [tables.read(folder / "measures.csv") for folder in folders]
        told = _title(setting, name), name in setting.sources.released
        layers = sorted({row["layer"] for row in found[0]})
        for layer in _few(layers):
            group = told[0] if len(layers) == 1 else f"{told[0]}, layer {layer}"
            rows += _measured(found, layer, group, told[1])
            if name in _POINTS and (name == "elmo" or layer == layers[-1]):
                points += _points(folders[0], layer, group)
    counts = tables.read(folders[0] / "counts.csv")
    return {"polysemy.csv": rows, "senses.csv": points, "counts.csv": counts}


def _few(layers: Sequence[int]) -> list[int]:
    """Of many layers the first, the middle and the last."""
    places = range(len(layers)) if len(layers) < 4 else (0, len(layers) // 2, -1)
    return [layers[place] for place in places]


def _title(setting: Setting, name: str) -> str:
    if name == "bow":
        return "words around"
    released = setting.sources.released
    return released[name].title if name in released else BY_NAME[name].title


def _measured(found, layer, group, released) -> Iterator[dict[str, Any]]:
    """The means over words of what is shown."""
    from lineage import statistics
    from metrics import comparison

    for panel, column, form, name in _SHOWN:
        of_seeds = [_values(rows, column, layer, form) for rows in found]
        estimate = statistics.mean([[comparison.mean(v)] for v in of_seeds])
        yield {
            "panel": panel,
            "group": group,
            "name": name,
            "mean": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "released": released,
        }


def _values(rows, column, layer, form) -> np.ndarray:
    kept = [row for row in rows if (row["layer"], row["form"]) == (layer, form)]
    return np.array([row[column] for row in kept])


def _points(folder: pathlib.Path, layer: int, group: str) -> Iterator[dict[str, Any]]:
    """Places of the occurrences of the words that occur most, as written."""
    measures = [m for m in tables.read(folder / "measures.csv") if m["layer"] == layer]
    counts = {row["word"]: row["occurrences"] for row in measures}
    words = sorted(counts, key=lambda word: (-counts[word], word))[:_DRAWN]
    for row in tables.read(folder / "points.csv"):
        if (row["layer"], row["form"]) == (layer, "written") and row["word"] in words:
            yield {
                "panel": group,
                "group": row["word"],
                "name": row["sense"],
                "x": row["x"],
                "y": row["y"],
            }


def _draw_senses(read: pathlib.Path, folder: pathlib.Path) -> list[pathlib.Path]:
    from lineage import pictures

    rows = tables.read(read / "polysemy.csv")
    guess = {_NEAREST: 0.5, _SILHOUETTE: 0.0}
    return [
        pictures.dots("polysemy", rows, folder, x="", guess=guess),
        pictures.points("senses", tables.read(read / "senses.csv"), folder),
    ]


def _layer_stages(setting: Setting) -> Made:
    """Taggers and classifiers over a mixture of frozen layers."""
    made, drawn = {}, setting.task_seeds[0]
    tagged, classified = setting.data("conll", _SENTENCES, drawn), setting.data("bbc")
    for name, flags in _MIXED.items():
        epochs = {"num_train_epochs": BY_NAME[name].epochs[None]}
        for seed in setting.seeds:
            model = setting.pretrained(name, seed)
            made[name, "tagging", seed] = setting.tagged(
                name, model, tagged, drawn, flags
            )
            made[name, "classification", seed] = setting.classified(
                name, model, classified, drawn, {**epochs, **flags}
            )
    return made


def _layer_rows(setting: Setting, made: Made, outcome: Outcome) -> Mapping[str, Rows]:
    del setting
    rows = []
    for name, task in dict.fromkeys((name, task) for name, task, _ in made):
        stages = [stage for key, stage in made.items() if key[:2] == (name, task)]
        shares = np.array([_shares(outcome.folder(stage)) for stage in stages])
        for layer, found in enumerate(shares.T):
            low, high = _interval(found)
            rows.append(
                {
                    "panel": BY_NAME[name].title,
                    "name": task,
                    "x": layer,
                    "mean": float(found.mean()),
                    "low": low,
                    "high": high,
                    "released": False,
                }
            )
    return {"layers.csv": rows}


def _shares(folder: pathlib.Path) -> list[float]:
    """What a mixture takes of each layer."""
    from training import layer_weights

    text = (folder / layer_weights.FILE).read_text(encoding="utf-8")
    cells = [line.split("\t") for line in text.splitlines()]
    return [float(share) for layer, share in cells if layer.isdigit()]


def _interval(values: np.ndarray) -> tuple[float | None, float | None]:
    """Student's 95 % interval of a mean; none of one value."""
    from scipy import stats

    if len(values) < 2:
        return None, None
    reach = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(values.mean() - reach), float(values.mean() + reach)


def _draw_layers(read: pathlib.Path, folder: pathlib.Path) -> list[pathlib.Path]:
    from lineage import pictures

    rows = tables.read(read / "layers.csv")
    return [pictures.lines("layers", rows, folder, x="layer", y="share of the mixture")]


def _mask_cells(setting: Setting) -> list[Cell]:
    """BERT learnt from records of three kinds, scored frozen and fine-tuned."""
    entered = []
    for title, shares in _MASKS.items():
        names = ("mask_probability", "random_probability", "keep_probability")
        flags = dict(zip(names, shares, strict=True))
        if shares == _MASKS[_AS_IN_THE_PAPER]:
            flags = {}  # the same records as the main table's
        models = (setting.pretrained("bert", s, records=flags) for s in setting.seeds)
        name = f"bert {'-'.join(f'{100 * share:.0f}' for share in shares)}"
        entered.append(Entrant(name, title, EQUAL, BY_NAME["bert"], tuple(models)))
    tasks = ["bbc20", *(["conll"] if setting.sources.data_dir else [])]
    return contest.cells(setting, entered, tasks)


def _direction_cells(setting: Setting) -> list[Cell]:
    """A Transformer of one size that reads from the left, or from both sides."""
    entered = [
        Entrant(name, title, EQUAL, BY_NAME[name],
                tuple(setting.pretrained(name, seed) for seed in setting.seeds))
        for name, title in _DIRECTIONS.items()
    ]  # fmt: skip
    return [
        *contest.cells(setting, entered, ["conll"]),
        *(_answered(setting, entrant) for entrant in entered),
    ]


def _answered(setting: Setting, entrant: Entrant) -> Cell:
    source = Input(f"{setting.sources.data_dir}/xquad/xquad.en.json")
    flags = {
        "input_file": source,
        "output_dir": HERE,
        "num_train": _ANSWERS.labels,
    }
    parts = Stage("xquad", "benchmarks/split_squad.py", flags, seconds=3)

    def stage(model, seed):
        own = {
            "train_file": parts / "train.json",
            "predict_file": parts / "dev.json",
            "init_checkpoint": model.folder,
            "output_dir": HERE,
            "do_train": True,
            "do_predict": True,
            "seed": seed,
        }
        title = f"{entrant.name} fine-tuned xquad {seed}"
        return Stage(title, "run_squad.py", {**own, **_ANSWERING}, seconds=150)

    grid = tuple(
        tuple((stage(model, seed), "") for seed in setting.task_seeds)
        for model in entrant.models
    )
    return Cell(entrant, _ANSWERS, TUNED, grid)


def _stages_of(cells: Iterable[Cell]) -> Made:
    return {stage.key: stage for cell in cells for stage in cell.stages}


def _dots_of(cells: Sequence[Cell], outcome: Outcome) -> list[dict[str, Any]]:
    """Scores as dots: a panel a task, a group an entrant, frozen and fine-tuned."""
    titles = {cell.task.name: cell.task.title for cell in cells}
    return [
        {
            "panel": titles[row["task"]],
            "group": row["title"],
            "name": row["column"],
            "mean": row["score"],
            "low": row["low"],
            "high": row["high"],
            "released": False,
        }
        for row in contest.rows(cells, outcome)
    ]


def _scored(
    name: str,
    title: str,
    systems: Sequence[str],
    cells: Callable[[Setting], Sequence[Cell]],
    needs_data_dir: bool = False,
) -> Experiment:
    """An experiment whose rows are scores of entrants."""

    def rows(setting, made, outcome):
        del made
        return {f"{name}.csv": _dots_of(cells(setting), outcome)}

    def draw(read, folder):
        from lineage import pictures

        found = tables.read(read / f"{name}.csv")
        return [pictures.dots(name, found, folder, x="score, %")]

    return Experiment(
        name,
        title,
        systems,
        lambda setting: _stages_of(cells(setting)),
        rows,
        draw,
        needs_data_dir,
    )


EXPERIMENTS = (
    Experiment(
        "polysemy",
        "Two senses of a word",
        _READ,
        _sense_stages,
        _sense_rows,
        _draw_senses,
    ),
    Experiment(
        "layers",
        "Which layer",
        tuple(_MIXED),
        _layer_stages,
        _layer_rows,
        _draw_layers,
        needs_data_dir=True,
    ),
    _scored("masking", "Why 80, 10 and 10 %", ("bert",), _mask_cells),
    _scored(
        "directions",
        "Both directions",
        tuple(_DIRECTIONS),
        _direction_cells,
        needs_data_dir=True,
    ),
)
