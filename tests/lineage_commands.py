"""Runs stages inside the tests' process, where libraries are loaded."""

import importlib
import pathlib

import scripts
from absl import flags

import command_line
from lineage import runner
from lineage.stages import folder_of


def run_module(name, *arguments):
    """Runs a command of lineage, as `python -m` does."""
    scripts.forget_flags()
    module = importlib.import_module(name)
    before = set(flags.FLAGS)
    module.define_flags()
    try:
        command_line.parse_flags([name, *arguments])
        module.main([name])
    finally:
        flags.FLAGS.unparse_flags()
        for flag in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, flag)


FAILING: set[str] = set()  # names of stages


def run(stages, work, jobs=runner.JOBS):
    """Like runner.run; here, one after the other, and those of FAILING fail."""
    del jobs
    outcome = runner.Outcome(pathlib.Path(work))
    (pathlib.Path(work) / "stages").mkdir(parents=True, exist_ok=True)
    for stage in runner.with_needs(stages):
        if stage.name in FAILING:
            outcome.failed.append(stage)
            continue
        if not outcome.is_done(*stage.needs()):
            outcome.left_out.append(stage)
            continue
        record = runner.read_record(stage, outcome.work)
        if record is None:
            folder_of(stage, outcome.work).mkdir(exist_ok=True)
            arguments = stage.arguments(outcome.work)
            if stage.script.endswith(".py"):
                module = stage.script.removesuffix(".py").replace("/", ".")
                scripts.run(module, *arguments)
            else:
                run_module(stage.script, *arguments)
            record = runner.new_record(stage, outcome.work, 1.5, 1.25, 100.0, False)
        outcome.records[stage.key] = record
    return outcome
