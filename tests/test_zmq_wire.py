"""bert-as-service's own client, unmodified, and what it never sends."""

import json
import random
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import serving_fakes
import zmq
from bert_serving.client import BertClient, ConcurrentBertClient
from serving_fakes import vector

from errors import UserError
from serving import zmq_wire

TEXTS = ["First do it", "then do it right", "then do it better"]


def wire(service, **kwargs):
    ports = {"host": "127.0.0.1", "port": 0, "port_out": 0}
    return [zmq_wire.Wire(service, show_tokens=True, **{**ports, **kwargs})]


@pytest.fixture(scope="module")
def server():
    """A server that every test may use; its wire, its service, what computes."""
    vectors = serving_fakes.Vectors()
    with serving_fakes.served(wire, vectors) as ((front,), service):
        yield front, service, vectors


@pytest.fixture
def client(server):
    with connect(server[0]) as made:
        yield made


def connect(front, kind=BertClient, **kwargs):
    kwargs = {"timeout": 10_000, **kwargs}
    return kind(port=front.port, port_out=front.port_out, **kwargs)


def expected(texts):
    return np.stack([vector(text) for text in texts])


class Raw:
    """A client of frames."""

    def __init__(self, front, identity=b"raw", subscribe=True):
        self.context, self.identity = zmq.Context(), identity
        self.push, self.sub = (self.context.socket(k) for k in (zmq.PUSH, zmq.SUB))
        self.sub.setsockopt(zmq.RCVTIMEO, 10_000)
        self.push.connect(f"tcp://127.0.0.1:{front.port}")
        self.sub.connect(f"tcp://127.0.0.1:{front.port_out}")
        if subscribe:
            self.sub.setsockopt(zmq.SUBSCRIBE, identity)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for socket in (self.push, self.sub):
            socket.close(0)
        self.context.term()

    def ask(self, message, number=b"1", request=b"1"):
        self.push.send_multipart([self.identity, message, request, number])


def test_the_client_encodes_after_all_its_checks(client):
    found = client.encode(TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected(TEXTS))
    pieces = [text.split() for text in TEXTS]
    found, tokens = client.encode(pieces, is_tokenized=True, show_tokens=True)
    np.testing.assert_array_equal(found, expected(TEXTS))
    assert tokens == pieces
    assert client.encode(["日本 語", "naïve"])[:, 0].tolist() == [2, 1]


def test_many_requests_come_back_each_with_its_number(client):
    for i in range(30):
        client.encode([f"text {i}", "x" * i + "y"], blocking=False)
    found = client.fetch_all()
    for i, vectors in enumerate(found):
        np.testing.assert_array_equal(vectors, expected([f"text {i}", "x" * i + "y"]))
    batches = [[f"a{i}"] * (i + 1) for i in range(5)]
    answers = {r.id: r.embedding for r in client.encode_async(iter(batches))}
    assert [len(answers[k]) for k in sorted(answers)] == [1, 2, 3, 4, 5]


def test_the_pool_of_clients_serves_threads(server):
    found = [None] * 8
    with connect(server[0], ConcurrentBertClient, max_concurrency=8) as pool:

        def ask(i):
            found[i] = pool.encode([f"{'z' * i} thread"])

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for i, vectors in enumerate(found):
        np.testing.assert_array_equal(vectors, expected([f"{'z' * i} thread"]))


def test_no_first_answer_is_lost(server):
    for _ in range(10):
        with connect(server[0], ignore_all_checks=True, timeout=3000) as made:
            assert made.encode(["one"]).shape == (1, 3)


def test_an_answer_waits_for_its_subscription(server):
    with Raw(server[0], b"late", subscribe=False) as raw:
        raw.ask(b'["a b"]')
        time.sleep(0.2)
        raw.sub.setsockopt(zmq.SUBSCRIBE, b"late")
        identity, told, values, request = raw.sub.recv_multipart()
    assert (identity, request) == (b"late", b"1")
    assert json.loads(told)["tokens"] == [["a", "b"]]
    np.testing.assert_array_equal(np.frombuffer(values, "f4"), vector("a b"))


def test_answers_that_nobody_takes_are_kept_for_a_while(server, monkeypatch):
    front = server[0]
    with Raw(front, b"never", subscribe=False) as raw:
        for i in range(3):
            raw.ask(b'["a"]', request=b"%d" % i)
        while len(front._held.get(b"never", ())) < 3:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(front._held[b"never"]) == 3
        monkeypatch.setattr(zmq_wire, "_HELD_SECONDS", 0.0)
        while b"never" in front._held:
            time.sleep(0.01)
    assert front._held_bytes == 0


def test_a_client_that_does_not_read_stops_nobody_and_loses_nothing(server):
    front, service, _ = server
    with Raw(front, b"slow", subscribe=False) as raw:
        raw.sub.setsockopt(zmq.RCVHWM, 1)
        raw.sub.setsockopt(zmq.SUBSCRIBE, b"slow")
        message = json.dumps(["w " * 5000] * 8).encode()
        for i in range(200):
            raw.ask(message, b"8", b"%d" % i)
        while b"slow" not in front._held:  # its queue in libzmq is full
            time.sleep(0.01)
        with connect(front) as made:
            assert made.encode(["quick"]).shape == (1, 3)
        while service.waiting_texts:
            time.sleep(0.01)
        seen = {raw.sub.recv_multipart()[-1] for _ in range(200)}
    assert len(seen) == 200


def test_two_clients_of_one_identity_both_get_the_answer(server):
    with connect(server[0], identity=b"us") as one, Raw(server[0], b"us") as two:
        time.sleep(0.2)
        one.encode(["shared"])
        seen = {two.sub.recv_multipart()[-1]}
        assert seen == {b"2"}  # 1 was the configuration, before it came


def test_config_and_status_have_the_originals_keys(client):
    client.encode(TEXTS)
    config, status = client.server_config, client.server_status
    assert config["server_version"] == "1.10.0"
    assert {"ventilator -> worker", "num_process", "zmq_version"} <= config.keys()
    counts = status["statistic"]
    assert counts["num_data_request"] >= 1
    assert counts["num_sys_request"] >= 2
    assert counts["max_size_per_request"] >= 3
    assert {"avg_request_per_second", "min_last_two_interval"} <= counts.keys()


@pytest.mark.parametrize(
    ("message", "number", "told"),
    [
        (b"[1, 2]", b"2", r"texts\[0\]: got 1; wanted a text"),
        (b'["a", " "]', b"2", r"texts\[1\]: got ' '; wanted a text; not blank"),
        (b'[["a"], "b"]', b"2", r"texts\[1\]: got 'b'; wanted a list of pieces"),
        (b"[]", b"0", "wanted a list of texts; not empty"),
        (b'{"a": 1}', b"1", "no texts; and says that they are 1"),
        (b'["a"]', b"7", "1 texts; and says that they are 7"),
        (b'["a", ', b"2", "the message is no JSON"),
        (b"\xff\xfe", b"2", "the message is no JSON"),
        (b"[" * 100_000, b"1", "nested too deeply"),
        (rb'["\ud800"]', b"1", "half of a surrogate pair"),
        (b'["please fail"]', b"1", "computation failed: ArithmeticError: no vector"),
        (json.dumps(["a"] * 9000).encode(), b"9000", "at most 8192 in a request"),
    ],
)
def test_a_bad_request_is_told_by_the_dtype(server, client, message, number, told):
    with Raw(server[0]) as raw:
        raw.ask(message, number)
        frames = raw.sub.recv_multipart()
    assert (len(frames), frames[-1]) == (4, b"1")
    dtype = json.loads(frames[1])["dtype"]
    with pytest.raises(TypeError, match=told):
        np.frombuffer(frames[2], dtype=dtype)
    np.testing.assert_array_equal(client.encode(["after"]), expected(["after"]))


def test_the_client_raises_our_message(client):
    with pytest.raises(TypeError, match="computation failed: ArithmeticError"):
        client.encode(["will fail"])
    np.testing.assert_array_equal(client.encode(["next"]), expected(["next"]))


def test_frames_that_nobody_can_be_answered_for_are_dropped(server, client):
    with Raw(server[0]) as raw:
        for frames in (
            [b"raw"],
            [b"raw", b'["a"]', b"x", b"1"],
            [b"", b'["a"]', b"1", b"1"],
            [b"r" * 256, b'["a"]', b"1", b"1"],
            [b"raw"] * 9,
            [b"raw", b'["a"]', b"1" * 30, b"1"],
        ):
            raw.push.send_multipart(frames)
        raw.ask(b'["a"]', request=b"77")
        assert raw.sub.recv_multipart()[-1] == b"77"
    assert client.encode(["alive"]).shape == (1, 3)


def test_jobs_of_clients_that_left_are_dropped(server):
    front, service, vectors = server
    vectors.go.clear()
    with Raw(front, b"gone") as raw:
        raw.ask(json.dumps(["wanted by nobody"] * 40).encode(), b"40")
        raw.ask(b'["x"]', request=b"2")
        while service.engine.waiting() < 25:
            time.sleep(0.01)
    while service.waiting_texts:
        time.sleep(0.01)
    before = len(vectors.computed)
    vectors.go.set()
    with connect(front) as made:
        made.encode(["last"])
    rows = [row for batch in vectors.computed[before + 1 :] for row in batch]
    assert "wanted by nobody" not in rows


def test_nothing_is_lost_or_mixed_up_among_clients_that_leave_and_that_send_anything(
    server,
):
    front, wrong, over = server[0], [], threading.Event()

    def use(i):
        draw = random.Random(i)
        with connect(front, ignore_all_checks=True) as made:
            for turn in range(20):
                texts = [f"{i} {turn}" + " w" * draw.randrange(30)] * draw.randint(1, 9)
                if i % 5 == 0 and turn == 10:
                    made.encode(texts, blocking=False)
                    return
                if not np.array_equal(made.encode(texts), expected(texts)):
                    wrong.append(texts)

    def disturb():
        draw = random.Random(0)
        with Raw(front, b"noise") as raw:
            while not over.is_set():
                parts = range(draw.randint(1, 6))
                raw.push.send_multipart(
                    [draw.randbytes(draw.randrange(9)) for _ in parts]
                )
                raw.ask(draw.choice([b"[]", b'["fail"]', b"[[]]", draw.randbytes(50)]))
                time.sleep(0.001)

    noise = threading.Thread(target=disturb)
    noise.start()
    with ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(use, i) for i in range(20)]
    over.set()
    noise.join()
    assert [future.exception() for future in futures] == [None] * 20
    assert not wrong


def test_clients_wait_where_there_is_no_room():
    vectors = serving_fakes.Vectors()
    limits = {"max_request_texts": 8, "max_waiting_texts": 8}
    with serving_fakes.served(wire, vectors, **limits) as ((front,), service):
        vectors.go.clear()
        with connect(front) as made:
            for _ in range(20):
                made.encode(["t"] * 5, blocking=False)
            time.sleep(0.3)
            assert service.waiting_texts <= 8 + 5
            vectors.go.set()
            assert len(made.fetch_all()) == 20


def test_what_has_come_is_answered_before_the_end():
    vectors = serving_fakes.Vectors()
    with serving_fakes.served(wire, vectors) as ((front,), service):
        vectors.go.clear()
        with Raw(front) as raw:
            for i in range(5):
                raw.ask(b'["t"]', request=b"%d" % i)
            while service.waiting_texts < 5:
                time.sleep(0.01)
            raw.push.send_multipart([b"0", b"TERMINATION", b"0", b"0"])
            time.sleep(0.2)
            vectors.go.set()
            seen = {raw.sub.recv_multipart()[-1] for _ in range(5)}
    assert seen == {b"0", b"1", b"2", b"3", b"4"}


def test_only_this_machine_may_end_the_server(server, monkeypatch):
    front, service, _ = server
    monkeypatch.setattr(zmq_wire, "_peer", lambda frame: "203.0.113.5")
    with Raw(front) as raw:
        raw.push.send_multipart([b"0", b"TERMINATION", b"0", b"0"])
        raw.ask(b'["a"]')
        raw.sub.recv_multipart()
    assert not service.stopping.is_set()
    for address, is_here in (
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("", False),
    ):
        assert zmq_wire._is_loopback(address) == is_here


def test_a_port_that_is_taken_is_named(server):
    front, service, _ = server
    with pytest.raises(UserError, match=f"-port_out {front.port}.*already in use"):
        wire(service, port_out=front.port)


def test_the_client_warns_of_nothing(server):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with connect(server[0]) as made:
            made.encode(TEXTS, show_tokens=True)
