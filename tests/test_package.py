"""What is installed: every script and config, by one command, away from this folder."""

import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest
import tiny

import word2bert

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_the_command_knows_every_script():
    scripts = {
        path.stem for path in ROOT.glob("*.py") if "startup.run(" in path.read_text()
    }
    assert set(word2bert.SCRIPTS) == scripts - {"quickstart"}


@pytest.mark.parametrize(
    ("words", "status", "shown"),
    [
        (["--help"], 0, "usage: word2bert SCRIPT"),
        (["run_clasifier"], 2, "word2bert: there is no script run_clasifier"),
        (["configs"], 0, "configs"),
    ],
)
def test_the_command_says_what_there_is(words, status, shown):
    command = [sys.executable, str(ROOT / "word2bert.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert shown in done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Builds a wheel and installs it where nothing of this folder is on the path."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheels = folder / "wheels"
    # A copy, since a build leaves files in the folder that it is of.
    left = shutil.ignore_patterns(".*", "build", "quickstart", "*.egg-info")
    source = shutil.copytree(ROOT, folder / "source", ignore=left)
    build = [*pip, "wheel", "--no-deps", f"--wheel-dir={wheels}", str(source)]
    subprocess.run(build, check=True, cwd=folder)
    venv.create(folder / "env", with_pip=True)
    python = str(folder / "env/bin/python")
    (wheel,) = wheels.glob("*.whl")
    install = [python, "-m", "pip", "--quiet", "install", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, cwd=folder)
    # Dependencies, which weigh a gigabyte, are those of the tests' environment.
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(where, check=True, capture_output=True, text=True).stdout
    here = sysconfig.get_path("purelib")
    (pathlib.Path(site.strip()) / "tests_dependencies.pth").write_text(here + "\n")
    return folder


def run(installed, *command):
    """Runs a program of the environment in an empty folder."""
    elsewhere = installed / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    program, *words = command
    done = subprocess.run(
        [str(installed / "env/bin" / program), *words],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_wheel_holds_the_configs(installed):
    folder = pathlib.Path(run(installed, "word2bert", "configs").strip())
    assert installed in folder.parents
    for kind in ("models/*.json", "runs/*.flags"):
        ours = sorted(path.name for path in (ROOT / "configs").glob(kind))
        assert sorted(path.name for path in folder.glob(kind)) == ours


@pytest.mark.slow
def test_every_module_of_a_wheel_is_imported_from_it(installed):
    names = ("training.trainer", "modeling.layers.crf")
    program = "; ".join(f"import {name}; print({name}.__file__)" for name in names)
    for line in run(installed, "python", "-c", program).split():
        assert installed in pathlib.Path(line).parents


@pytest.mark.slow
def test_scripts_of_a_wheel_train_and_write_vectors(installed):
    vocab, config = tiny.write_model(installed)
    data = tiny.write_data(installed / "data", train=16, dev=5, test=3)
    shared = [f"--vocab_file={vocab}", f"--bert_config_file={config}"]
    flags = [
        *tiny.COLUMNS,
        *("--do_train", "--do_eval", f"--data_dir={data}", "--num_train_epochs=1"),
        *("--max_seq_length=24", "--train_batch_size=8", "--output_dir=trained"),
    ]
    run(installed, "word2bert", "run_classifier", *shared, *flags)
    assert (installed / "elsewhere/trained/eval_results.txt").is_file()
    (installed / "text.txt").write_text("good word1\n")
    flags = [
        *("--init_checkpoint=trained", "--pooling=mean", "--output_file=vectors.npy"),
        f"--input_file={installed / 'text.txt'}",
    ]
    script = [*("python", "-m", "extract_features"), *flags, "--max_seq_length=24"]
    run(installed, *script)
    assert (installed / "elsewhere/vectors.npy").is_file()
