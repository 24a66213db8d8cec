"""How long updates take: measured in short pre-trainings, or by an earlier run."""

import json
import pathlib
from collections.abc import Sequence

import json_files
from errors import MissingFile, UserError
from lineage import runner
from lineage.plan import RATES
from lineage.setting import Setting


def read(path: str, names: Sequence[str]) -> dict[str, float]:
    """Reads how long updates of an earlier run took; seconds by system.

    Raises:
      UserError: there is no such file, or it does not tell them of all `names`.
    """
    flag = f"--calibration={path}"
    if not pathlib.Path(path).is_file():
        raise MissingFile(f"{flag}: no such file")
    told = json_files.parse(pathlib.Path(path).read_bytes(), flag)
    rates = json_files.check_object(told, flag)
    if missing := [name for name in names if name not in rates]:
        raise UserError(f"{flag}: nothing on {', '.join(missing)}")
    for name in names:
        if not isinstance(rates[name], int | float) or rates[name] <= 0:
            raise UserError(
                f"{flag}: {name} is {rates[name]!r}; wanted seconds, more than 0"
            )
    return {name: rates[name] for name in names}


def measure(
    setting: Setting, names: Sequence[str], work: pathlib.Path
) -> dict[str, float]:
    """Measures, once, how long updates take; seconds by system."""
    short = {name: setting.short(name) for name in names}
    outcome = runner.run(list(short.values()), work)
    # A system that cannot even be measured fails again where it is needed.
    measured = [name for name in names if outcome.is_done(short[name])]
    rates = {name: RATES[name] for name in names}
    if measured:
        stage = setting.rates_of(measured)
        told = runner.run([stage], work)
        if not told.is_done(stage):
            raise UserError(f"the calibration failed, see above and in {work}/stages")
        rates |= json.loads((told.folder(stage) / "rates.json").read_text())
    return rates
