"""Memory and speed of create_pretraining_data.py by the corpus's size, in one run.

The corpus is a real text (one sentence a line, blank lines between documents),
repeated to the size wanted. --compatible stands in for google-research/bert's script.

    python -m benchmarks.bench_pretraining_data --vocab_file=vocab.txt \
        --input_file=text.txt
"""

import pathlib
import subprocess
import sys
import tempfile
import time

import startup

from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("vocab_file", None, "The vocabulary, one piece a line.")
flags.DEFINE_string("input_file", None, "UTF-8 text to repeat.")
flags.DEFINE_bool("do_lower_case", True, "False for cased models.")
flags.DEFINE_list("sizes_mb", ["20", "200"], "Sizes of the corpus, in 10^6 bytes.")
flags.DEFINE_integer("compatible_mb", 5, "Size of the corpus for --compatible.", 1)
flags.DEFINE_integer("dupe_factor", 5, "As the script's; the parent's README has 5.", 1)
flags.DEFINE_integer("num_files", 4, "Files that the corpus is divided into.", 1)

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "create_pretraining_data.py"
_POLL_SECONDS = 0.05


def write_corpus(folder, megabytes):
    """Writes the text again and again into so many files of so many bytes in all."""
    text = pathlib.Path(FLAGS.input_file).read_bytes().strip() + b"\n\n"
    for number in range(FLAGS.num_files):
        with open(folder / f"corpus-{number}.txt", "wb") as file:
            while file.tell() < megabytes * 1e6 / FLAGS.num_files:
                file.write(text)


def tree_bytes(root):
    """Memory of a process and its descendants; a page that they share counts once."""
    total, family = 0, [root]
    for process in family:
        folder = pathlib.Path(f"/proc/{process}")
        try:
            for task in (folder / "task").iterdir():
                family.extend(map(int, (task / "children").read_text().split()))
            memory = (folder / "smaps_rollup").read_text()
        except OSError:
            continue  # it has ended meanwhile
        pss = next(line for line in memory.splitlines() if line.startswith("Pss:"))
        total += int(pss.split()[1]) * 1024
    return total


def measure(megabytes, *more):
    """Runs the script; returns its report, and the peak memory in bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_corpus(folder, megabytes)
        command = [
            sys.executable,
            str(SCRIPT),
            f"--input_file={folder}/corpus-*.txt",
            f"--output_file={folder}/examples.tfrecord",
            f"--vocab_file={FLAGS.vocab_file}",
            f"--do_lower_case={FLAGS.do_lower_case}",
            f"--dupe_factor={FLAGS.dupe_factor}",
            *more,
        ]
        with open(folder / "report", "w+") as output, open(folder / "log", "w+") as log:
            process = subprocess.Popen(command, stdout=output, stderr=log)
            peak = 0
            while process.poll() is None:
                peak = max(peak, tree_bytes(process.pid))
                time.sleep(_POLL_SECONDS)
            if process.returncode:
                log.seek(0)
                raise RuntimeError(f"{' '.join(command)} failed:\n{log.read()}")
            output.seek(0)
            report = dict(line.rstrip().split(" = ") for line in output)
    return {name: float(value) for name, value in report.items()}, peak


def main(_):
    """Measures every size, then --compatible, and prints both ratios."""
    rows = [(f"{mb} MB", *measure(float(mb))) for mb in FLAGS.sizes_mb]
    compatible = measure(FLAGS.compatible_mb, "--compatible")
    rows.append((f"{FLAGS.compatible_mb} MB, --compatible", *compatible))
    print(
        f"{'corpus':24} {'tokens':>12} {'instances':>10} {'seconds':>8} "
        f"{'tokens/s':>9} {'peak MB':>8}"
    )
    for name, report, peak in rows:
        print(
            f"{name:24} {report['tokens']:12,.0f} {report['instances']:10,.0f} "
            f"{report['seconds']:8.1f} {report['tokens_per_second']:9,.0f} "
            f"{peak / 1e6:8,.0f}"
        )
    (_, _, small), (_, large, most) = rows[0], rows[-2]
    speed = large["tokens_per_second"] / compatible[0]["tokens_per_second"]
    print(f"memory, {rows[-2][0]} / {rows[0][0]}: {most / small:.2f}")
    print(f"tokens/s, {rows[-2][0]} / {rows[-1][0]}: {speed:.1f}")


if __name__ == "__main__":
    startup.run(main, required=["vocab_file", "input_file"])
