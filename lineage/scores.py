"""Reads what stages left of predictions, as sums over test items."""

import pathlib

from scipy import stats

from metrics import comparison
from metrics.comparison import RowSums
from reports import files
from reports.scores import Scores

TABLE = "predictions.tsv"


def read(folder: pathlib.Path) -> RowSums:
    """The score of a folder's test set: accuracy, F1 of entities, or Spearman's rho.

    Spearman's is Pearson's of the ranks in the whole set, also where items are drawn.

    Args:
      folder: of a fine-tuning, or one of lineage.probe's.

    Raises:
      UserError: it has no table of predictions.
    """
    found = files.read(str(folder / TABLE))
    if isinstance(found, Scores):
        sides = (stats.rankdata(side) for side in (found.gold, found.predicted))
        return comparison.pearson(*sides)
    return found.row_sums(found.metrics[0])
