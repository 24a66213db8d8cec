"""The report of a run: tables, pictures, and all commands with their times."""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lineage import contest, expectations, pictures, runner, tables
from lineage.plan import Plan
from lineage.runner import Outcome, Record
from reports.page import Section, Table, as_html

Row = Mapping[str, Any]
_TASKS = {task.name: task for task in contest.TASKS}


def write(plan: Plan, outcome: Outcome, work: pathlib.Path) -> None:
    """Writes report.html, table.md, runs.jsonl; of any rows table.csv, differences.csv.

    Args:
      plan: what was to be done.
      outcome: what was.
      work: the folder to write to.
    """
    rows = contest.rows(plan.cells, outcome)
    found = contest.differences(plan.cells, outcome)
    records = [
        outcome.record(stage)
        for stage in runner.with_needs(plan.stages)
        if outcome.is_done(stage)
    ]
    for name, lines in (("table.csv", rows), ("differences.csv", found)):
        if lines:
            tables.write(work / name, lines)
        else:
            (work / name).unlink(missing_ok=True)  # an earlier run's
    runs = "".join(json.dumps(dataclasses.asdict(record)) + "\n" for record in records)
    runner.write(work / "runs.jsonl", runs)
    compared = f"{differences(found)}\n" if found else ""
    markdown = f"{table(rows)}\n{compared}{_costs(records)}\n"
    runner.write(work / "table.md", markdown)
    sections = [
        *_table_sections(rows, found),
        _expected_section(rows),
        _picture_section(rows, plan, outcome, work),
        *_experiment_sections(plan, outcome, work),
        _text_section(plan, outcome),
        _cost_section(records),
    ]
    page = as_html("The lineage, measured", [s for s in sections if s])
    runner.write(work / "report.html", page)
    print(f"\n{markdown}\n{work / 'report.html'}")


def shown(score: float | None, low: float | None, high: float | None) -> str:
    """A figure and its interval, in percent."""
    return "failed" if score is None else f"{score:.1f} [{low:.1f}, {high:.1f}]"


def heading(task: str, column: str) -> str:
    """The name of a figure."""
    found = _TASKS[task]
    how = "" if found.tuned is None else f", {column}"
    return f"{found.title}{how} ({found.metric})"


def parts(rows: Sequence[Row]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yields caption, header and lines of each panel, frozen and fine-tuned."""
    for panel in dict.fromkeys(row["panel"] for row in rows):
        for column in (contest.FROZEN, contest.TUNED):
            own = [r for r in rows if (r["panel"], r["column"]) == (panel, column)]
            tasks = [name for name in _TASKS if name in {r["task"] for r in own}]
            titles = [f"{_TASKS[name].title} ({_TASKS[name].metric})" for name in tasks]
            lines = []
            for name in dict.fromkeys(row["name"] for row in own):
                of_one = {r["task"]: r for r in own if r["name"] == name}
                first = next(iter(of_one.values()))
                cells = [_cell(of_one.get(task)) for task in tasks]
                lines.append([first["title"], str(first["year"]), *cells])
            if lines:
                yield f"{panel}, {column}", ["system", "year", *titles], lines


def _cell(row: Row | None) -> str:
    return shown(row["score"], row["low"], row["high"]) if row else ""


def table(rows: Sequence[Row]) -> str:
    """The table in Markdown: a row an entrant."""
    made = []
    for caption, head, lines in parts(rows):
        rule = ["---"] * len(head)
        made += ["", f"**{caption}**", "", *map(_line, [head, rule, *lines])]
    return "\n".join(made[1:]) + "\n"


def differences(rows: Sequence[Row]) -> str:
    """Paired differences in Markdown."""
    head = ["", "task", "column", "difference, points", "95 % interval", ""]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        lines.append(
            _line(
                [
                    f"{row['from']} → {row['to']}",
                    _TASKS[row["task"]].title,
                    row["column"],
                    f"{row['difference']:+.1f}",
                    f"[{row['low']:+.1f}, {row['high']:+.1f}]",
                    _verdict(row),
                ]
            )
        )
    return "\n".join(lines) + "\n"


def _verdict(row: Row) -> str:
    """Of one pre-training each, a difference is not yet one of the systems."""
    if not row["shown"]:
        return "no difference shown"
    return "shown" if row["pretrainings"] > 1 else "shown, of these models"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _costs(records: Sequence[Record]) -> str:
    """What all of it took."""
    cores = sum(record.cpu_seconds for record in records) / 60
    walls = sum(record.seconds for record in records) / 60
    peak = max((record.peak_mb for record in records), default=0)
    return (
        f"{len(records)} stages, {cores:.1f} minutes of one core, "
        f"{walls / runner.JOBS:.1f} minutes of wall time with {runner.JOBS} at a time; "
        f"the largest process had {peak:,.0f} MB."
    )


def _table_sections(rows, found) -> list[Section]:
    made = [Table(head, lines, caption=name) for name, head, lines in parts(rows)]
    note = (
        "Percent, with 95 % intervals over pre-trainings, task seeds and test items; "
        "where one seed was run, an interval says nothing of the next one."
    )
    sections = [Section("Scores", [note], made)]
    if found:
        lines = [
            (
                f"{row['from']} → {row['to']}",
                _TASKS[row["task"]].title,
                row["column"],
                row["difference"],
                row["low"],
                row["high"],
                _verdict(row),
            )
            for row in found
        ]
        head = ("", "task", "column", "points", "low", "high", "")
        note = "Paired in test items and labels; the last rows are one system twice."
        compared = Table(head, lines, digits=1)
        sections.append(Section("From one system to the next", [note], [compared]))
    return sections


def _expected_section(rows) -> Section | None:
    """What was expected before any run, beside what came out."""
    found = list(expectations.compared(rows))
    if not found:
        return None
    titles = {row["name"]: row["title"] for row in rows}
    lines = [
        (
            titles[row["name"]],
            heading(row["task"], row["column"]),
            f"{row['low']:g} to {row['high']:g}",
            row["score"],
            row["verdict"],
        )
        for row in found
    ]
    right = sum(row["verdict"] == expectations.INSIDE for row in found)
    note = (
        f"Written down before any run (docs/lineage.md): {right} of {len(found)} "
        "figures came out as expected."
    )
    head = ("system", "figure", "expected", "score", "")
    return Section("What was expected", [note], [Table(head, lines, digits=1)])


def curves(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Accuracy on BBC News by labels, as lineage.pictures draws lines."""
    labels = {"bbc4": 4, "bbc20": 20, "bbc": 297}
    return [
        {
            "panel": row["column"],
            "name": row["title"],
            "x": labels[row["task"]],
            "mean": row["score"],
            "low": row["low"],
            "high": row["high"],
            "released": row["panel"] == contest.RELEASED,
        }
        for row in rows
        if row["task"] in labels
        and row["score"] is not None
        and row["panel"] != contest.LONGER
    ]


def by_minutes(rows: Sequence[Row], plan: Plan, outcome: Outcome):
    """The mean score of each entrant by the minutes that its pre-training took.

    Only what has all of a column is averaged. Minutes are of one core, and of the mean
    pre-training; those of a bag of words and of released weights are not known.
    """
    made = []
    for column in (contest.FROZEN, contest.TUNED):
        own = [row for row in rows if row["column"] == column]
        tasks = {row["task"] for row in own}
        for entrant in plan.entered:
            scores = [
                row["score"]
                for row in own
                if row["name"] == entrant.name and row["score"] is not None
            ]
            minutes = _minutes(entrant, outcome)
            is_again = entrant.name == contest.AGAIN_NAME
            if minutes and not is_again and 0 < len(scores) == len(tasks):
                made.append(
                    {
                        "panel": column,
                        "name": entrant.system.title,
                        "x": round(minutes, 2),
                        "mean": sum(scores) / len(scores),
                        "low": None,
                        "high": None,
                        "released": False,
                    }
                )
    return made


def _minutes(entrant, outcome) -> float | None:
    """Of one core, of all trainings that a model comes from."""
    found = []
    for model in entrant.models:
        if isinstance(model, contest.Stage) and outcome.is_done(model):
            trainings = [
                outcome.record(stage).cpu_seconds
                for stage in runner.with_needs([model])
                if stage.script.startswith("run_")
            ]
            found.append(sum(trainings) / 60)
    return sum(found) / len(found) if found else None


def _picture_section(rows, plan, outcome, work) -> Section | None:
    folder = work / "pictures"
    folder.mkdir(exist_ok=True)
    made = []
    if found := curves(rows):
        y = "accuracy, %"
        made.append(
            pictures.lines("labels", found, folder, x="labels a class", y=y, log=True)
        )
    if found := by_minutes(rows, plan, outcome):
        x, y = "minutes of pre-training, one core", "mean score, %"
        made.append(pictures.lines("minutes", found, folder, x=x, y=y, log=True))
    if not made:
        return None
    svgs = [path.read_text(encoding="utf-8") for path in made]
    return Section("Pictures", svgs=svgs)


def _experiment_sections(plan: Plan, outcome: Outcome, work) -> list[Section]:
    """The tables and pictures of the experiments whose stages are all done."""
    folder, sections = work / "pictures", []
    for experiment, made in plan.experiments:
        if not outcome.is_done(*made.values()):
            line = "Not shown: a stage of it failed."
            sections.append(Section(experiment.title, [line]))
            continue
        found = experiment.rows(plan.setting, made, outcome)
        for name, rows in found.items():
            if rows:
                tables.write(folder / name, rows)
        svgs = [
            path.read_text(encoding="utf-8") for path in experiment.draw(folder, folder)
        ]
        sections.append(Section(experiment.title, svgs=svgs))
    return sections


def _text_section(plan: Plan, outcome: Outcome) -> Section | None:
    if not outcome.is_done(plan.setting.text):
        return None
    path = outcome.folder(plan.setting.text) / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    head = ("source", "documents", "sentences", "words", "sentences left out")
    lines = [(name, *found.values()) for name, found in report.items()]
    note = (
        "All systems learn from this text; sentences that share eight words in a row "
        "with what is scored are left out."
    )
    return Section("Text", [note], [Table(head, lines)])


def _cost_section(records: Sequence[Record]) -> Section:
    head = ("stage", "seconds", "of one core", "MB", "command")
    lines = [
        (
            record.name + (" (gone on with)" if record.resumed else ""),
            record.seconds,
            record.cpu_seconds,
            record.peak_mb,
            record.command,
        )
        for record in records
    ]
    note = f"Each command can be repeated alone, with {runner.BEFORE} before it."
    return Section("Stages", [_costs(records), note], [Table(head, lines, digits=1)])
