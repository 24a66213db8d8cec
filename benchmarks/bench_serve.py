"""What serve.py costs beside extract_features.py; how long one text waits; losses.

    python -m benchmarks.bench_serve --model_dir=all-MiniLM-L6-v2 \
        --input_file=sentences.txt --mixed_precision=bfloat16

All figures are of one run. Clients need the cores that the server computes with. Where
they are many, or are timed, they are light ones in one thread of this process, whose
share of a core is printed; else bert-as-service's own.
"""

import base64
import functools
import http.client
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
from benchmarks import light_clients
from data_pipeline.features import lines
from errors import UserError
from inference.extraction import FeatureExtractor
from inference.extraction_config import ExtractionConfig
from systems.system import make_system

FLAGS = flags.FLAGS
flags.DEFINE_string("model_dir", None, "The model.")
flags.DEFINE_string("input_file", None, "Texts, one a line.")
flags.DEFINE_enum("mixed_precision", "off", ("off", "bfloat16"), "Of both.")
flags.DEFINE_integer("max_seq_len", 128, "Pieces of the longest text.", 4)
flags.DEFINE_integer("num_texts", 5120, "Texts of each measurement of speed.", 512)
flags.DEFINE_list("measure", ["speed", "latency", "losses"], "What.")
flags.DEFINE_integer("num_requests", 10_000, "Requests of which none may be lost.", 1)
flags.DEFINE_string(
    "peer_python", None, "An interpreter that has sentence-transformers and uvicorn."
)

_ROOT = os.path.dirname(startup.__file__)
_SCRIPT = os.path.join(_ROOT, "serve.py")
_PEER = os.path.join(_ROOT, "benchmarks", "peers", "sbert_server.py")
_ROUTE = "/v1/embeddings"
_LARGE, _CLIENTS, _LATENCIES = 256, 32, 300
_MANY, _KILLED = 100, 10


class Server:
    """serve.py in a process of its own.

    Attributes:
      ports: for requests, for answers, for HTTP.
    """

    def __init__(self):
        """Starts it; returns when it is ready."""
        self.ports = free_ports(3)
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

    def seconds(self):
        """Returns the seconds of CPU that the process has used."""
        with open(f"/proc/{self._process.pid}/stat") as file:
            found = file.read().rpartition(")")[2].split()
        return sum(map(int, found[11:13])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Returns the bytes that the process holds."""
        with open(f"/proc/{self._process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        """Ends it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


class Peer:
    """sentence-transformers behind uvicorn, in a process of its own."""

    def __init__(self):
        """Starts it; returns when it answers."""
        (self.port,) = free_ports(1)
        words = [FLAGS.peer_python, _PEER, f"--model={FLAGS.model_dir}"]
        words += [f"--port={self.port}", f"--max_seq_length={FLAGS.max_seq_len}"]
        words += ["--bfloat16"] * (FLAGS.mixed_precision == "bfloat16")
        self._process = subprocess.Popen(words)
        while True:
            time.sleep(1)
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if self._process.poll() is not None:
                    sys.exit(self._process.returncode)

    def stop(self):
        """Ends it."""
        self._process.terminate()
        self._process.wait()


def free_ports(number):
    """Returns ports that are free."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


def rate(texts, ask):
    """Texts a second of a function without arguments; the best of two."""
    return len(texts) / min(timed(ask) for _ in range(2))


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
    return vectors, rate(texts, lambda: run(texts))


def large_over_zmq(server, texts):
    """256 texts a request, one client, as many requests under way as there are."""
    with server.client() as client:
        for start in range(0, len(texts), _LARGE):
            client.encode(texts[start : start + _LARGE], blocking=False)
        return client.fetch_all(concat=True)


def embedding_bodies(texts, size):
    """Returns requests for OpenAI's route, of so many texts each."""
    parts = [texts[i : i + size] for i in range(0, len(texts), size)]
    told = {"model": "model", "encoding_format": "base64"}
    return [json.dumps({**told, "input": part}).encode() for part in parts]


def embeddings(bodies):
    """Returns the vectors of answers of OpenAI's route."""
    data = [row["embedding"] for body in bodies for row in json.loads(body)["data"]]
    return np.stack([np.frombuffer(base64.b64decode(row), "<f4") for row in data])


def single_messages(texts):
    """Returns requests of bert-as-service's protocol, of a text each."""
    return [json.dumps([text]).encode() for text in texts]


def waited(server, texts, clients, every):
    """Seconds that each of some texts takes, ascending; see light_clients.over_zmq."""
    texts = [texts[i % len(texts)] for i in range(_LATENCIES)]
    messages = single_messages(texts)
    return np.sort(light_clients.over_zmq(server.ports, messages, clients, every)[1])


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
    *ports, http_port = server.ports
    messages = single_messages(texts)
    found = {}
    for name, ask, vectors in (
        (
            f"ZMQ, {_LARGE} texts a request",
            lambda: large_over_zmq(server, texts),
            lambda answers: answers,
        ),
        (
            f"ZMQ, {_CLIENTS} clients of one text",
            lambda: light_clients.over_zmq(ports, messages, _CLIENTS)[0],
            lambda answers: np.stack([np.frombuffer(f[2], "<f4") for f in answers]),
        ),
        *http_measurements(http_port, texts),
    ):
        worst = np.abs(vectors(ask()) - wanted).max()
        before, its_before = time.process_time(), server.seconds()
        began = time.perf_counter()
        found[name] = rate(texts, ask)
        wall = time.perf_counter() - began
        clients = (time.process_time() - before) / wall
        its = (server.seconds() - its_before) / wall
        print(
            f"{name}: {found[name]:.0f} texts/s, {found[name] / speed:.2f} of it; "
            f"cores: server {its:.2f}, clients {clients:.2f}; vectors differ by "
            f"{worst:.1e} at most",
            flush=True,
        )
    return found


def http_measurements(port, texts):
    """What is measured of OpenAI's route: name, what asks, what reads the answers."""
    for name, size, clients in (
        (f"HTTP, {_LARGE} texts a request", _LARGE, 4),
        (f"HTTP, {_CLIENTS} clients of one text", 1, _CLIENTS),
    ):
        bodies = embedding_bodies(texts, size)
        ask = functools.partial(light_clients.over_http, port, _ROUTE, bodies, clients)
        yield name, ask, embeddings


def speed_of_peer(texts, wanted, ours):
    """Prints texts a second of sentence-transformers, and what ours are of these."""
    peer = Peer()
    try:
        for name, ask, vectors in http_measurements(peer.port, texts):
            alike = (vectors(ask()) * wanted).sum(1) / np.linalg.norm(wanted, axis=1)
            found = rate(texts, ask)
            print(
                f"sentence-transformers, {name}: {found:.0f} texts/s; ours "
                f"{ours[name] / found:.2f} x; cosines {alike.min():.4f} at least",
                flush=True,
            )
    finally:
        peer.stop()


def waiting(server, texts):
    """Prints how long one text takes, alone and at half of what can be computed."""
    alone = np.median(waited(server, texts, 1, 0.0))
    messages = single_messages(texts)
    ask = functools.partial(light_clients.over_zmq, server.ports, messages, _CLIENTS)
    every = 2 * timed(ask) / len(texts)
    p99 = waited(server, texts, _CLIENTS, every)[int(0.99 * _LATENCIES)]
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
        found = waited(server, texts, _CLIENTS, every)
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
            found = speed_of_server(server, texts, wanted, speed)
            if FLAGS.peer_python:
                speed_of_peer(texts, wanted, found)
        if "latency" in FLAGS.measure:
            every = waiting(server, texts)
            flooded(server, texts, every)
        if "losses" in FLAGS.measure:
            losses(server, texts, wanted)
    finally:
        server.stop()


if __name__ == "__main__":
    startup.run(main, required=["model_dir", "input_file"])
