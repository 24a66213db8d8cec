"""Worker processes: what goes wrong in them is told as if it had been in one's own."""

import os
import signal

import startup

import pytest

from data_pipeline.corpora import parallel
from errors import MissingFile, UserError


def work(job):
    """Does as it is told; in a worker process."""
    if job == "wrong":
        raise MissingFile("text.txt, line 3: wanted 2")
    if job == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "interrupted":
        os.kill(os.getpid(), signal.SIGINT)
    return job


def done(*jobs):
    with parallel.worker_processes(1) as pool:
        return list(parallel.in_order(pool, work, jobs, 1))


def test_a_users_error_arrives_as_it_was():
    with pytest.raises(UserError) as error:
        done("a", "wrong")
    assert startup.users_error(error.value) == "text.txt, line 3: wanted 2"


def test_a_worker_that_is_killed_is_told():
    with pytest.raises(UserError, match="a worker .* killed.* --num_workers=1"):
        done("a", "killed")


def test_an_interrupt_is_the_parents_to_act_on():
    assert done("interrupted", "b") == ["interrupted", "b"]
