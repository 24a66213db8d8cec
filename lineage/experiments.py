"""An experiment: stages, and what becomes of their files.

    def _stages(setting):
        mask = {"mask_probability": 1, "random_probability": 0, "keep_probability": 0}
        data, made = setting.data("bbc", labels=20, seed=0), {}
        for seed in setting.seeds:
            bert = setting.pretrained("bert", seed, records=mask)
            made["all masked", seed] = setting.classified("bert", bert, data, seed)
        return made

    def _rows(setting, made, outcome):
        return {"masking.csv": [
            {"records": name, "seed": seed, "accuracy": read(outcome.folder(stage))}
            for (name, seed), stage in made.items()]}

    MASKING = Experiment(
        "masking", "Why 80/10/10", ("bert",), _stages, _rows, draw_masking)

`run_lineage.py` calls `stages`, runs all of them with those of the main table (a stage
that two want is run once), calls `rows` where all are done, writes each table as a CSV
file, and has `draw` make pictures of it, which go into the report.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from lineage.runner import Outcome
from lineage.setting import Setting
from lineage.stages import Stage

Rows = Sequence[Mapping[str, Any]]
Made = Mapping[Hashable, Stage]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One of the article's arguments.

    Attributes:
      name: for --experiments.
      title: of the report's section.
      systems: whose pre-trainings it reads.
      stages: from the setting to the stages whose files `rows` reads, by any names.
      rows: from setting, stages and outcome to CSV tables: file name -> rows.
      draw: from the folder of the CSV files to that of the pictures: writes each as
        SVG and PNG, and returns the paths of the SVGs in the order they are shown.
      needs_data_dir: whether it is left out, which is told, without --data_dir.
    """

    name: str
    title: str
    systems: tuple[str, ...]
    stages: Callable[[Setting], Made]
    rows: Callable[[Setting, Made, Outcome], Mapping[str, Rows]]
    draw: Callable[[pathlib.Path, pathlib.Path], Sequence[pathlib.Path]]
    needs_data_dir: bool = False
