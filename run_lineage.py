"""Compares all systems: trained on the same text, scored on the same tasks.

python run_lineage.py --budget=2h --output_dir=lineage_work
python run_lineage.py --budget=30m --systems=bow,skip_gram,bert --tasks=bbc20,wordsim

Every stage is one of the project's commands, which is printed; a run that was killed
goes on when it is started again. --output_dir gets report.html, table.md, table.csv,
differences.csv and runs.jsonl.
"""

import json
import pathlib
import sys
from collections.abc import Iterator

import startup

from absl import flags

from errors import UserError
from lineage import arguments, contest, plan, rates, runner, sources
from lineage.systems import BY_NAME

FLAGS = flags.FLAGS
_PANELS = {
    "longer": contest.LONGER,
    "released": contest.RELEASED,
    "tuned": contest.RELEASED_TUNED,
}
EXPERIMENTS = {experiment.name: experiment for experiment in arguments.EXPERIMENTS}
_NONE = ["none"]
_TASKS = [task.name for task in contest.TASKS]

flags.DEFINE_string("budget", "2h", "Wall time of all, on two cores: 10m, 30m, 2h.")
flags.DEFINE_string("output_dir", "lineage_work", "Where all stages and results go.")
flags.DEFINE_list("systems", None, f"Of {', '.join(BY_NAME)}; default: by --budget.")
flags.DEFINE_list("tasks", None, f"Of {', '.join(_TASKS)}; default: by --budget.")
flags.DEFINE_list(
    "panels",
    None,
    "Beside equal minutes, of longer, released, tuned (released, too); or none.",
)
flags.DEFINE_list(
    "experiments",
    None,
    f"Of {', '.join(EXPERIMENTS)}; or none; default: by --budget, none of --systems.",
)
flags.DEFINE_integer("seeds", None, "Pre-trainings of each system.", 1, 10)
flags.DEFINE_integer("task_seeds", None, "Draws of labels, and fine-tunings.", 1, 10)
flags.DEFINE_float(
    "minutes", None, "Of a pre-training, of one core; default: what --budget leaves.", 0
)
flags.DEFINE_string(
    "data_dir", None, "Further data: folders sst2, conll2003, sts, sick, cola ..."
)
flags.DEFINE_list("text", [], "Text to learn from besides: a sentence a line.")
flags.DEFINE_string(
    "calibration", None, "A calibration.json of an earlier run: its numbers of updates."
)


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags."""
    choices = {"systems": BY_NAME, "tasks": _TASKS, "panels": _PANELS}
    choices["experiments"] = EXPERIMENTS
    for name, known in choices.items():
        given = FLAGS[name].value or []
        if given == _NONE and name in ("panels", "experiments"):
            continue
        for value in given:
            if value not in known:
                yield f"--{name}={value}: wanted some of {', '.join(known)}"
    try:
        plan.seconds_of(FLAGS.budget)
    except UserError as error:
        yield str(error)
    if not FLAGS.data_dir:
        needy = {"tasks": contest.NEEDS_DATA_DIR}
        needy["systems"] = [n for n, s in BY_NAME.items() if contest.needs_data_dir(s)]
        needy["experiments"] = [n for n, e in EXPERIMENTS.items() if e.needs_data_dir]
        for name, those in needy.items():
            if found := [value for value in FLAGS[name].value or () if value in those]:
                yield f"--{name}={','.join(found)}: needs --data_dir"
    if pathlib.Path(FLAGS.output_dir).is_file():
        yield f"--output_dir={FLAGS.output_dir} is a file; wanted a folder"


def choice() -> plan.Choice:
    """Reads what is compared."""
    default = plan.default(FLAGS.budget, FLAGS.data_dir)
    systems = FLAGS.systems or [
        name
        for name in default.systems
        if FLAGS.data_dir or not contest.needs_data_dir(BY_NAME[name])
    ]
    panels = default.panels
    experiments = () if FLAGS.systems else default.experiments
    if FLAGS.panels is not None:
        panels = tuple(_PANELS[name] for name in FLAGS.panels if name in _PANELS)
    if FLAGS.experiments is not None:
        experiments = tuple(name for name in EXPERIMENTS if name in FLAGS.experiments)
    return plan.Choice(
        systems=tuple(name for name in BY_NAME if name in systems),
        tasks=tuple(FLAGS.tasks or default.tasks),
        panels=panels,
        seeds=FLAGS.seeds or default.seeds,
        task_seeds=FLAGS.task_seeds or default.task_seeds,
        experiments=experiments,
    )


def counted(chosen: plan.Choice) -> list[str]:
    """Lists the systems whose pre-trainings are given so many updates, or epochs."""
    read = {name for x in chosen.experiments for name in EXPERIMENTS[x].systems}
    return [
        name
        for name, system in BY_NAME.items()
        if system.counted and name in read.union(chosen.systems)
    ]


def summary(made: plan.Plan) -> str:
    """Says what will be done."""
    scored = {cell.entrant.name for cell in made.cells}
    minutes = made.seconds / runner.JOBS / 60
    told = (
        f"entrants: {len(scored)}, figures: {len(made.cells)}, stages: "
        f"{len(runner.with_needs(made.stages))}; about {minutes:.0f} min."
    )
    if made.setting.rates:
        minutes = made.setting.minutes
        told += f" A pre-training takes up to {minutes:g} minutes of one core."
    if idle := [e.title for e in made.entered if e.name not in scored]:
        told += f" Without a task: {', '.join(idle)}."
    return told


def main(_) -> None:
    """Plans, runs, reports."""
    work = pathlib.Path(FLAGS.output_dir)
    found = sources.find(FLAGS.data_dir, tuple(FLAGS.text))
    chosen, budget, minutes = choice(), FLAGS.budget, FLAGS.minutes
    names = counted(chosen)

    def planned(seconds):
        if minutes is not None:
            return plan.make(found, chosen, seconds, minutes)
        return plan.within(budget, found, chosen, seconds)

    seconds = rates.read(FLAGS.calibration, names) if FLAGS.calibration else None
    first = planned(seconds or plan.RATES)
    if not first.stages:
        raise UserError(
            f"--systems={','.join(chosen.systems)} with --tasks="
            f"{','.join(chosen.tasks)}: there is nothing to score"
        )
    work.mkdir(parents=True, exist_ok=True)
    print(f"Each command can be repeated alone, with {runner.BEFORE} before it.")
    if seconds is None:
        seconds = rates.measure(first.setting, names, work)
    runner.write(work / "calibration.json", json.dumps(seconds, indent=2) + "\n")
    made = planned(seconds)
    print(f"\n{summary(made)}", flush=True)
    outcome = runner.run(made.stages, work)
    from lineage import report  # loads TensorFlow, which stages must not inherit

    report.write(made, outcome, work)
    if outcome.failed:
        names = ", ".join(stage.name for stage in outcome.failed)
        print(f"run_lineage.py: failed: {names}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    startup.run(main, check_flags)
