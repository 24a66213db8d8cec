"""How scripts begin and end: quiet libraries, one line for a user's error."""

import concurrent.futures
import errno
import os
import signal
import subprocess
import sys

import startup

import pytest
import tensorflow as tf
import tiny

from errors import MissingExtra, MissingFile, UserError

pytestmark = pytest.mark.long


def script(text, *words, **environment):
    """Runs a main of this text."""
    code = f"import startup\n\ndef main(argv):\n  {text}\n\nstartup.run(main)"
    command = [sys.executable, "-c", code, *words]
    return tiny.run(command, cwd=tiny.ROOT, env=os.environ | environment)


def caught(action):
    """Returns what an action raises."""
    with pytest.raises(Exception) as error:  # noqa: PT011
        action()
    return error.value


@pytest.fixture(scope="module", autouse=True)
def out_of_memory():
    """What asks for too much; TensorFlow waits 10 s for some to become free."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        yield pool.submit(tf.zeros, [1 << 40])


@pytest.mark.parametrize(
    "raised",
    [
        "import errors; raise errors.UserError('--a=1: wanted 2')",
        "import errors; raise errors.MissingFile('--a=1: wanted 2')",
        "raise FloatingPointError('--a=1: wanted 2')",
    ],
)
def test_a_users_error_is_one_line_and_status_2(raised):
    done = script(raised)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "-c: --a=1: wanted 2\n"
    shown = script(raised, "--traceback")
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr


def test_a_bug_keeps_its_traceback():
    done = script("{}['key']")
    assert done.returncode == 1
    assert done.stderr.endswith("KeyError: 'key'\n")


def test_flags_that_are_wrong_are_one_line_and_status_2():
    done = script("print('run')", "--no_such_flag", "word")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "--no_such_flag is no flag; 'word' belongs to no flag" in done.stderr


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_lists_a_scripts_own_flags_and_those_it_shares(word):
    done = tiny.run(
        [sys.executable, "create_vocab.py", word, "--vocab_size=wrong"], cwd=tiny.ROOT
    )
    assert done.returncode == 0
    own, shared = done.stdout.split("\n\n")[-2:]
    assert "create_vocab" in done.stdout.partition("flags:")[0]
    assert own.startswith("flags:\n  --")
    assert "  --min_frequency=" in own
    assert "  --traceback=False: " in shared
    assert "absl" not in done.stdout
    assert max(map(len, f"{own}\n{shared}".splitlines())) <= 80


@pytest.mark.parametrize("where", ["script", "import"])
def test_an_interrupt_is_silent(where):
    body = "import time; print('here', flush=True); time.sleep(60)"
    code = f"import startup\ndef main(_): {body}\nstartup.run(main)"
    if where == "import":
        code = f"import startup\n{body}"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tiny.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Whoever starts the tests in the background may have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    # Who dies of a signal has the same status for the shell: 128 + 2.
    wanted = startup.INTERRUPTED if where == "script" else -signal.SIGINT
    assert (process.returncode, errors) == (wanted, b"")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("text"), "text"),
        (MissingFile("a: no such file"), "a: no such file"),
        (MissingExtra("needs jieba"), "needs jieba"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a"), "a: No such file"),
        (OSError(errno.ENOSPC, "No space", "a", None, "b"), "a -> b: No space"),
        (OSError(errno.ENOSPC, "No space"), "[Errno 28] No space"),
        (MemoryError(), "out of memory"),
        (MemoryError("wanted 8 GB"), "out of memory: wanted 8 GB"),
        (OSError(errno.ECHILD, "No child"), None),
        (ValueError("text"), None),
        (RecursionError(), None),
        (ImportError("no module"), None),
    ],
)
def test_which_errors_are_the_users(error, message):
    assert startup.users_error(error) == message


def test_tensorflows_other_errors_are_bugs():
    for action in (
        lambda: tf.constant([1])[:, 0],
        lambda: tf.reshape(tf.zeros([3]), [2]),
        lambda: tf.gather([1], 3),
    ):
        assert startup.users_error(caught(action)) is None


QUIET = """\
import startup
import tensorflow as tf
tf.constant(1) + 1
tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(1))
"""


@pytest.mark.parametrize(("level", "shown"), [(None, False), ("0", True)])
def test_tensorflow_is_loaded_quietly_unless_the_user_wants_it_otherwise(level, shown):
    environment = dict(os.environ)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    if level is not None:
        environment["TF_CPP_MIN_LOG_LEVEL"] = level
    done = tiny.run([sys.executable, "-c", QUIET], cwd=tiny.ROOT, env=environment)
    assert done.returncode == 0
    assert bool(done.stderr) is shown


def test_what_tensorflow_says_where_it_cannot_be_loaded_is_shown(tmp_path):
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import os; os.write(2, b'no AVX\\n'); raise ImportError('broken')"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{tiny.ROOT}"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = tiny.run(
        [sys.executable, "-c", "import startup, tensorflow"], env=environment
    )
    assert done.stderr.startswith("no AVX\n")
    assert done.stderr.endswith("ImportError: broken\n")


def test_startup_itself_does_not_load_tensorflow():
    code = "import sys, startup; sys.exit('tensorflow' in sys.modules)"
    assert tiny.run([sys.executable, "-c", code], cwd=tiny.ROOT).returncode == 0


def test_tensorflows_errors_of_files_are_the_users(tmp_path, out_of_memory):
    missing, folder = str(tmp_path / "none"), str(tmp_path)
    for action, message in (
        (lambda: tf.io.gfile.GFile(missing).read(), f"{missing}: No such file or dir"),
        (lambda: tf.io.gfile.GFile(folder).read(), f"{folder}: Is a directory"),
        (lambda: tf.io.read_file(missing), f"{missing}: No such file or directory"),
        (lambda: list(tf.data.TFRecordDataset(folder)), f"{folder}: Is a directory"),
        (lambda: tf.io.gfile.exists("s3://a/b"), "File system scheme 's3' not impl"),
        (out_of_memory.result, "out of memory: OOM when allocating tensor"),
    ):
        found = startup.users_error(caught(action))
        assert found.startswith(message)
        assert "{{" not in found
        assert "[Op:" not in found
