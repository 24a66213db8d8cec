"""Stages: keys, needs, and that they are run once, in order, and told of."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from test_layering import RANKS, rank_of
from tiny import ROOT

from errors import UserError
from lineage import code, runner
from lineage.stages import HERE, Input, Stage, folder_of, join


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Makes stages of scripts that stand in a folder of their own; returns the maker.

    A script gets its flags as the dictionary `flags`.
    """
    monkeypatch.setattr(code, "ROOT", tmp_path)
    monkeypatch.setattr(code, "BELOW", ())
    code.version.cache_clear()
    start = "import sys, pathlib, time, os\n"
    start += "flags = dict(w[2:].split('=', 1) for w in sys.argv[1:])\n"

    def make(name, body, flags=None, seconds=1.0):
        script = f"{name}.py"
        (tmp_path / script).write_text(start + body)
        return Stage(name, script, {"output": HERE / "out", **(flags or {})}, seconds)

    yield make
    code.version.cache_clear()


WRITE = "pathlib.Path(flags['output']).write_text(flags['value'])\n"
COPY = (
    "found = [pathlib.Path(x).read_text() for x in flags['input'].split(',')]\n"
    "pathlib.Path(flags['output']).write_text('+'.join(found))\n"
)
COUNT = "with (pathlib.Path(flags['output']).parent / 'calls').open('a') as f:\n"
COUNT += "    f.write('x')\n"


ANOTHER_PROCESS = """
import sys
from lineage import code, runner
from lineage.stages import HERE, Stage
import pathlib
code.ROOT, code.BELOW = pathlib.Path(sys.argv[1]), ()
first = Stage("first", "first.py", {"output": HERE / "out"})
slow = Stage("slow", "slow.py", {"input": first / "out", "output": HERE / "out"})
runner.run([slow], sys.argv[2])
"""


LARGE = "x = bytearray(200_000_000)\ntime.sleep(.3)"


def start_in_another_process(scripts, work):
    """Runs the stages first and slow, which reads what first wrote."""
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(scripts), str(work)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)})


def run_in_another_process(scripts, work):
    assert start_in_another_process(scripts, work).wait() == 0


def calls(outcome, stage):
    return len((outcome.folder(stage) / "calls").read_text())


def test_what_is_below_is_what_the_layers_say():
    below = set().union(*RANKS[: rank_of("lineage")])
    assert set(code.BELOW) == below - {"serving"}


def test_stages_run_after_what_they_need_and_never_twice(toy, tmp_path, capsys):
    first = toy("first", COUNT + WRITE, {"value": "1"})
    second = toy("second", WRITE, {"value": "2"})
    both = toy("both", COUNT + COPY, {"input": (first / "out", second / "out")})
    outcome = runner.run([both, first], tmp_path / "work")
    assert (outcome.folder(both) / "out").read_text() == "1+2"
    assert "--value=1" in capsys.readouterr().out
    again = runner.run([both], tmp_path / "work")
    assert calls(again, first) == calls(again, both) == 1
    assert again.records == outcome.records
    assert capsys.readouterr().out == ""


def test_a_stage_whose_folder_was_removed_is_done_again(toy, tmp_path):
    stage = toy("first", WRITE, {"value": "1"})
    folder = runner.run([stage], tmp_path).folder(stage)
    shutil.rmtree(folder)
    runner.run([stage], tmp_path)
    assert (folder / "out").read_text() == "1"


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "first"}'])
def test_a_damaged_record_is_named(toy, tmp_path, text):
    stage = toy("first", WRITE)
    folder = folder_of(stage, tmp_path)
    folder.mkdir(parents=True)
    record = folder.with_name(f"{folder.name}.json")
    record.write_text(text)
    with pytest.raises(UserError, match=rf"{record.name}: .* remove it"):
        runner.run([stage], tmp_path)


def test_a_record_tells_command_and_time(toy, tmp_path):
    stage = toy("busy", "time.sleep(.3)\n", {"word": "a b"})
    record = runner.run([stage], tmp_path / "work").record(stage)
    assert "'--word=a b'" in record.command
    assert record.flags["word"] == "a b"
    assert 0.3 < record.seconds < 30
    assert record.cpu_seconds < record.seconds
    assert not record.resumed


def test_a_record_tells_the_memory_of_the_stage_alone(toy, tmp_path):
    ballast = np.ones(50_000_000)  # of this process
    stages = [toy("small", "time.sleep(.3)"), toy("large", LARGE)]
    outcome = runner.run(stages, tmp_path / "work")
    small, large = (outcome.record(stage).peak_mb for stage in stages)
    assert ballast.nbytes == 400_000_000
    assert 5 < small < 100
    assert 200 < large < 200 + small + 20


def test_another_run_is_kept_out(toy, tmp_path):
    with runner._alone(tmp_path), pytest.raises(UserError, match="another run"):
        runner.run([], tmp_path)


def test_the_printed_command_can_be_repeated_alone(toy, tmp_path, capsys):
    stage = toy("alone", WRITE, {"value": "it's"})
    outcome = runner.run([stage], tmp_path / "work")
    printed = capsys.readouterr().out.split("# alone\n")[1].split("\n#")[0]
    (outcome.folder(stage) / "out").unlink()
    subprocess.run(printed, shell=True, check=True)
    assert (outcome.folder(stage) / "out").read_text() == "it's"


def test_a_key_tells_flags_inputs_code_and_what_is_needed(toy, tmp_path):
    file = tmp_path / "input.txt"
    file.write_text("a")

    def keys(value="1", text="a", body=WRITE):
        path = tmp_path / f"{text}.txt"
        path.write_text(text)
        first = toy("first", body, {"value": value, "file": Input(str(path))})
        then = Stage("then", "first.py", {"x": join("en:", first / "out")})
        found = first.key, then.key
        code.version.cache_clear()
        return found

    base = keys()
    assert keys() == base
    for other in ({"value": "2"}, {"text": "b"}, {"body": WRITE + "\n"}):
        assert not set(keys(**other)) & set(base), other
    path = tmp_path / "moved.txt"
    path.write_text("a")
    moved = toy("first", WRITE, {"value": "1", "file": Input(str(path))})
    assert moved.key == base[0]  # a name is no content


def test_values_as_words(toy, tmp_path):
    one = toy("one", "", {})
    flags = {"a": True, "b": join("x:", one / "f"), "c": (1, HERE), "d": one.folder}
    stage = Stage("s", "one.py", flags)
    folder, own = (folder_of(s, tmp_path) for s in (one, stage))
    assert stage.arguments(tmp_path) == [
        "--a=true",
        f"--b=x:{folder}/f",
        f"--c=1,{own}",
        f"--d={folder}",
    ]


def test_a_stage_that_fails_takes_along_what_needs_it_only(toy, tmp_path, capsys):
    body = "print('line 1')\nsys.exit('the last line of it')\n"
    bad = toy("bad", body)
    after = toy("after", COPY, {"input": bad / "out"})
    last = toy("last", COPY, {"input": after / "out"})
    other = toy("other", WRITE, {"value": "1"})
    outcome = runner.run([last, other], tmp_path / "work")
    assert outcome.failed == [bad]
    assert outcome.left_out == [after, last]
    assert outcome.is_done(other)
    out = capsys.readouterr().out
    assert "# bad: FAILED with status 1" in out
    assert "the last line of it" in out
    bad = toy("bad", WRITE, {"value": "mended"})
    code.version.cache_clear()
    again = toy("after", COPY, {"input": bad / "out"})
    assert runner.run([again], tmp_path / "work").is_done(again)


def test_two_run_at_a_time(toy, tmp_path):
    wait = "p = pathlib.Path(flags['mark'])\np.touch()\n"
    wait += "while not pathlib.Path(flags['other']).exists(): time.sleep(.01)\n"
    marks = [str(tmp_path / "a"), str(tmp_path / "b")]
    stages = [
        toy(f"s{i}", wait, {"mark": marks[i], "other": marks[1 - i]}) for i in (0, 1)
    ]
    assert runner.run(stages, tmp_path / "work").is_done(*stages)


@pytest.mark.skipif(
    sys.platform != "linux", reason="children die with parents on Linux"
)
def test_a_killed_run_goes_on_where_it_was(toy, tmp_path):
    toy("first", COUNT + "pathlib.Path(flags['output']).write_text('1')\n")
    toy(
        "slow",
        COUNT
        + "pid = pathlib.Path(flags['output']).parent / 'pid'\n"
        + "pid.write_text(str(os.getpid()))\n"
        + f"if not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(60)\n"
        + COPY,
    )
    work = tmp_path / "work"
    process = start_in_another_process(tmp_path, work)
    while not (pids := list(work.glob("stages/slow-*/pid"))) or not pids[0].read_text():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    child = int(pids[0].read_text())
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{child}") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{child}")
    (tmp_path / "go").touch()
    run_in_another_process(tmp_path, work)
    (first,) = work.glob("stages/first-*/")
    assert (first / "calls").read_text() == "x"
    assert (pids[0].parent / "out").read_text() == "1"
    (record,) = work.glob("stages/slow-*.json")
    assert json.loads(record.read_text())["resumed"]
