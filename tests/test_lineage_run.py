"""run_lineage.py on the data that packages have, in processes of its own."""

import os
import signal
import subprocess
import sys
import time

import pytest
from tiny import ROOT

from lineage import contest, sources, tables
from packages import folder_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(folder_of, sources.PACKAGES)),
        reason="`make lineage` installs the packages of its data",
    ),
]
SHORT = ["--minutes=0.05", "--systems=bow,skip_gram", "--tasks=bbc20,wordsim"]
SHORT += ["--panels=none", "--task_seeds=1"]


def start(work, *flags):
    command = [sys.executable, str(ROOT / "run_lineage.py"), f"--output_dir={work}"]
    return subprocess.Popen([*command, *flags], cwd=work.parent, text=True,
                            stdout=subprocess.PIPE)  # fmt: skip


@pytest.mark.skipif(
    sys.platform != "linux", reason="children die with parents on Linux"
)
def test_a_run_that_was_killed_ends_with_the_same_figures(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = start(whole, *SHORT)
    told = done.communicate()[0]
    assert done.returncode == 0
    given = f"--calibration={whole}/calibration.json"
    process = start(killed, *SHORT, given)
    while not list(killed.glob("stages/skip-gram-pre-training-0-*/vocab*")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(killed.glob("stages/skip-gram-pre-training-0-*.json"))
    again = start(killed, *SHORT, given)
    again.communicate()
    assert again.returncode == 0
    tables_of = [(work / "table.csv").read_bytes() for work in (whole, killed)]
    assert tables_of[0] == tables_of[1]
    assert "minutes of one core" in told
    assert "MB" in told


def test_ten_minutes_hold_a_table_with_its_a_a_row(tmp_path):
    work = tmp_path / "work"
    done = start(work, "--budget=10m")
    done.communicate()
    assert done.returncode == 0
    rows = tables.read(work / "table.csv")
    names = {"bow", "skip_gram", "bert", contest.AGAIN_NAME}
    assert {row["name"] for row in rows} == names
    bag = next(row for row in rows if row["name"] == "bow")
    assert 80 < bag["score"] < 100
    found = tables.read(work / "differences.csv")
    twice = [row for row in found if row["to"] == "BERT, again"]
    assert {row["from"] for row in twice} == {"BERT"}
    assert os.path.getsize(work / "report.html") > 10_000
