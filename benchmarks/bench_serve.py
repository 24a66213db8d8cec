"""What serve.py costs beside extract_features.py; how long one text waits; losses.

    python -m benchmarks.bench_serve --model_dir=all-MiniLM-L6-v2 \
        --input_file=sentences.txt --mixed_precision=bfloat16

All figures are of one run. The clients are bert-as-service's own, threads of this
process, on the cores that the server computes with.
"""

import base64
import http.client
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import startup

import numpy as np
from absl import flags
from bert_serving.client import BertClient

import checkpoints
from data_pipeline.features import lines
from errors import UserError
from inference.extraction import ExtractionConfig, FeatureExtractor
from systems.system import make_system

FLAGS = flags.FLAGS
flags.DEFINE_string("model_dir", None, "The model.")
flags.DEFINE_string("input_file", None, "Texts, one a line.")
flags.DEFINE_enum("mixed_precision", "off", ("off", "bfloat16"), "Of both.")
flags.DEFINE_integer("max_seq_len", 128, "Pieces of the longest text.", 4)
flags.DEFINE_integer("num_texts", 5120, "Texts of each measurement of speed.", 512)
flags.DEFINE_list("measure", ["speed", "latency", "losses"], "What.")
flags.DEFINE_integer("num_requests", 10_000, "Requests of which none may be lost.", 1)

_SCRIPT = os.path.join(os.path.dirname(startup.__file__), "serve.py")
_LARGE, _CLIENTS, _LATENCIES = 256, 32, 300
_MANY, _KILLED = 100, 10


class Server:
    """serve.py in a process of its own.

    Attributes:
      ports: for requests, for answers, for HTTP.
    """

    def __init__(self):
        """Starts it; returns when it is ready."""
        with socket.socket() as a, socket.socket() as b, socket.socket() as c:
            for found in (a, b, c):
                found.bind(("127.0.0.1", 0))
            self.ports = [found.getsockname()[1] for found in (a, b, c)]
        words = {
            "model_dir": FLAGS.model_dir,
            "max_seq_len": FLAGS.max_seq_len,
            "mixed_precision": FLAGS.mixed_precision,
            "pooling_layer": -1,
            "served_model_name": "model",
            **dict(zip(("port", "port_out", "http_port"), self.ports, strict=True)),
        }
        words = [f"--{name}={value}" for name, value in words.items()]
        started = time.monotonic()
        self._process = subprocess.Popen([sys.executable, _SCRIPT, *words])
        self.client(timeout=300_000).close()
        print(f"ready after {time.monotonic() - started:.0f} s", flush=True)

    def client(self, **kwargs):
        """Returns a client."""
        port, port_out, _ = self.ports
        return BertClient(port=port, port_out=port_out, **{"timeout": 60_000, **kwargs})

    def memory(self):
        """Returns the bytes that the process holds."""
        with open(f"/proc/{self._process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        """Ends it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


def rate(texts, ask):
    """Texts a second of a function of all; the best of two."""
    return len(texts) / min(timed(lambda: ask(texts)) for _ in range(2))


def timed(run):
    """Seconds that a function takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def in_threads(number, run):
    """Calls a function with 0, 1, ... in as many threads."""
    threads = [threading.Thread(target=run, args=(i,)) for i in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def baseline(texts):
    """What extract_features.py computes: vectors, and texts a second."""
    source = checkpoints.open_checkpoint(FLAGS.model_dir)
    lower = source.do_lower_case is not False
    system = make_system(source.config, source.vocab_file, lower, FLAGS.model_dir)
    config = ExtractionConfig(
        pooling="mean",
        layers=(-1,),
        max_seq_length=FLAGS.max_seq_len,
        mixed_precision=FLAGS.mixed_precision,
    )
    extractor = FeatureExtractor(config, system)

    def run(texts):
        return np.stack([row.values for row in extractor.extract(texts)])

    vectors = run(texts)  # compiles, too
    return vectors, rate(texts, run)


def large_over_zmq(server, texts):
    """256 texts a request, one client, as many requests under way as there are."""
    with server.client() as client:
        for start in range(0, len(texts), _LARGE):
            client.encode(texts[start : start + _LARGE], blocking=False)
        return client.fetch_all(concat=True)


def over_http(port, texts, size, clients):
    """So many texts a request, so many clients of OpenAI's route."""
    starts = range(0, len(texts), size)
    found = [None] * len(starts)

    def run(first):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for i in range(first, len(starts), clients):
            body = {"model": "model", "input": texts[starts[i] : starts[i] + size]}
            body["encoding_format"] = "base64"
            connection.request("POST", "/v1/embeddings", json.dumps(body))
            data = json.loads(connection.getresponse().read())["data"]
            rows = [base64.b64decode(row["embedding"]) for row in data]
            found[i] = np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), -1)
        connection.close()

    in_threads(clients, run)
    return np.concatenate(found)


def one_by_one(server, texts):
    """32 clients of one text each."""
    found = [None] * len(texts)

    def run(first):
        with server.client(ignore_all_checks=True) as client:
            for i in range(first, len(texts), _CLIENTS):
                found[i] = client.encode([texts[i]])[0]

    in_threads(_CLIENTS, run)
    return np.stack(found)


def latencies(server, texts, every):
    """Seconds from when a text was due, one every so many seconds, by 8 clients."""
    found, number = [], itertools.count()
    began = time.perf_counter() + 0.5

    def run(_):
        with server.client(ignore_all_checks=True) as client:
            client.encode([texts[0]])
            while (i := next(number)) < _LATENCIES:
                due = began + i * every
                time.sleep(max(0.0, due - time.perf_counter()))
                client.encode([texts[i % len(texts)]])
                found.append(time.perf_counter() - due)

    in_threads(8, run)
    return np.sort(found)


def bare(server, texts):
    """Seconds that one text takes alone: the median."""
    found = []
    with server.client(ignore_all_checks=True) as client:
        for text in texts[:_LATENCIES]:
            started = time.perf_counter()
            client.encode([text])
            found.append(time.perf_counter() - started)
    return float(np.median(found))


def many(server, texts, wanted, requests):
    """100 clients, of which 10 leave: how many answers are lost, or wrong."""
    each = requests // _MANY
    leaving = set(random.Random(0).sample(range(_MANY), _KILLED))
    lost, wrong = [], []

    def run(i):
        draw = random.Random(i)
        with server.client(ignore_all_checks=True) as client:
            for turn in range(each):
                at = draw.randrange(len(texts) - 3)
                part = slice(at, at + draw.randint(1, 3))
                if i in leaving and turn == each // 2:
                    client.encode(texts[part], blocking=False)
                    return
                try:
                    found = client.encode(texts[part])
                except TimeoutError:
                    lost.append(i)
                    continue
                if not np.allclose(found, wanted[part], atol=0.05):
                    wrong.append(i)

    in_threads(_MANY, run)
    return len(lost), len(wrong)


def flood(server, stop):
    """Sends what is malformed, and too much, until it is told to stop."""
    import zmq

    context, draw = zmq.Context(), random.Random(1)
    push = context.socket(zmq.PUSH)
    push.setsockopt(zmq.LINGER, 0)
    push.setsockopt(zmq.SNDTIMEO, 100)
    push.connect(f"tcp://127.0.0.1:{server.ports[0]}")
    while not stop.is_set():
        frames = [
            draw.randbytes(draw.randrange(40)) for _ in range(draw.randrange(1, 7))
        ]
        if draw.random() < 0.3:
            frames = [b"flood", json.dumps(["x"] * 9000).encode(), b"1", b"9000"]
        try:
            push.send_multipart(frames)
        except zmq.Again:
            continue
        connection = http.client.HTTPConnection("127.0.0.1", server.ports[2])
        try:
            connection.request("POST", "/encode", draw.randbytes(draw.randrange(2000)))
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            pass
        connection.close()
        time.sleep(0.005)
    push.close()
    context.term()


def speed_of_server(server, texts, wanted, speed):
    """Prints texts a second, and their share of extract_features.py's."""
    port = server.ports[2]
    for name, ask in (
        (f"ZMQ, {_LARGE} texts a request", lambda t: large_over_zmq(server, t)),
        (f"HTTP, {_LARGE} texts a request", lambda t: over_http(port, t, _LARGE, 4)),
        (f"ZMQ, {_CLIENTS} clients of one text", lambda t: one_by_one(server, t)),
        (
            f"HTTP, {_CLIENTS} clients of one text",
            lambda t: over_http(port, t, 1, _CLIENTS),
        ),
    ):
        worst = np.abs(ask(texts) - wanted).max()
        found = rate(texts, ask)
        print(
            f"{name}: {found:.0f} texts/s, {found / speed:.2f} of it; vectors differ "
            f"by {worst:.1e} at most",
            flush=True,
        )


def waiting(server, texts):
    """Prints how long one text takes, alone and at half of what can be computed."""
    alone = bare(server, texts)
    every = 2 * timed(lambda: one_by_one(server, texts)) / len(texts)
    p99 = latencies(server, texts, every)[int(0.99 * _LATENCIES)]
    print(
        f"one text: {1e3 * alone:.1f} ms alone, p99 {1e3 * p99:.1f} ms at half load, "
        f"{p99 / alone:.1f} x",
        flush=True,
    )
    return every


def losses(server, texts, wanted):
    """Prints what many clients miss, and what the server keeps."""
    many(server, texts, wanted, 1000)
    before = server.memory()
    lost, wrong = many(server, texts, wanted, FLAGS.num_requests)
    print(
        f"{FLAGS.num_requests} requests of {_MANY} clients, {_KILLED} of which leave: "
        f"{lost} lost, {wrong} wrong; memory {server.memory() / before - 1:+.1%}",
        flush=True,
    )


def flooded(server, texts, every):
    """Prints how long one text takes while others send what is malformed."""
    stop = threading.Event()
    flooding = threading.Thread(target=flood, args=(server, stop))
    flooding.start()
    try:
        found = latencies(server, texts, every)
    finally:
        stop.set()
        flooding.join()
    print(
        f"under a flood of malformed requests: {len(found)} of {_LATENCIES} answered, "
        f"p99 {1e3 * found[int(0.99 * len(found))]:.1f} ms",
        flush=True,
    )


def main(_):
    """Measures, and prints a line for each figure."""
    texts = [line for line in lines.read_lines(FLAGS.input_file) if line]
    texts = texts[: FLAGS.num_texts]
    if len(texts) < FLAGS.num_texts:
        raise UserError(f"{FLAGS.input_file} has only {len(texts)} texts")
    wanted, speed = baseline(texts)
    print(f"extract_features.py: {speed:.0f} texts/s", flush=True)
    server = Server()
    try:
        if "speed" in FLAGS.measure:
            speed_of_server(server, texts, wanted, speed)
        if "latency" in FLAGS.measure:
            every = waiting(server, texts)
            flooded(server, texts, every)
        if "losses" in FLAGS.measure:
            losses(server, texts, wanted)
    finally:
        server.stop()


if __name__ == "__main__":
    startup.run(main, required=["model_dir", "input_file"])
