"""bert-as-service's protocol, for its unmodified client 1.10.0 (Xiao 2018).

A client pushes [identity, message, request id, number of texts] to one port, and is
subscribed to its identity at another, where [identity, JSON, (bytes,) request id] is
published. The original loses what it publishes before a subscription has come; here an
answer is held until then. Where it stays silent, here the client is made to raise: the
answer's dtype is the message, which numpy shows.

Whoever is subscribed to an identity gets its answers: two clients of one identity both
do, and so does one whose identity is the beginning of another's.
"""

import asyncio
import collections
import contextlib
import ipaddress
import json
import re
import time
from collections.abc import Sequence

import numpy as np
import zmq
import zmq.asyncio
from absl import logging

from errors import UserError
from serving.engine import Stopped
from serving.service import Service

_HELD_SECONDS, _HELD_BYTES = 60.0, 256 << 20
_QUEUED = 64  # answers that libzmq keeps for a client that does not read
_LONGEST_IDENTITY = 255
_RETRY_SECONDS = 0.02
_LINGER = 1.0  # seconds that what has been answered is still sent, at the end

_Frames = Sequence[bytes | np.ndarray]


class Wire:
    """Serves clients of bert-as-service."""

    def __init__(
        self,
        service: Service,
        *,
        host: str,
        port: int,
        port_out: int,
        show_tokens: bool = False,
        remote_termination: bool = False,
    ):
        """Takes the ports.

        Args:
          service: answers.
          host: the address to be reached at; `0.0.0.0` is all.
          port: for requests; 0 takes a free one.
          port_out: for answers; 0 takes a free one.
          show_tokens: whether answers have the tokens.
          remote_termination: whether other machines may end the server.

        Raises:
          UserError: a port is taken, or the address is not this machine's.
        """
        self._service, self._show_tokens = service, show_tokens
        self._remote_termination = remote_termination
        self._context = zmq.asyncio.Context()
        self._pull = self._context.socket(zmq.PULL)
        # Of a larger frame libzmq drops the connection, before it keeps it.
        self._pull.setsockopt(zmq.MAXMSGSIZE, service.admission.max_request_bytes)
        self._pull.setsockopt(zmq.RCVHWM, _QUEUED)
        self._publish = self._context.socket(zmq.XPUB)
        for option, value in (
            (zmq.XPUB_VERBOSE, 1),  # a second subscriber of an identity is told, too
            (zmq.XPUB_NODROP, 1),
            (zmq.SNDHWM, _QUEUED),
            (zmq.LINGER, round(1000 * _LINGER)),
        ):
            self._publish.setsockopt(option, value)
        try:
            self.port = _bind(self._pull, host, port, "-port")
            self.port_out = _bind(self._publish, host, port_out, "-port_out")
        except UserError:
            self.close()
            raise
        self._topics: set[bytes] = set()
        self._held: dict[bytes, collections.deque[tuple[float, _Frames, int]]] = {}
        self._held_bytes = 0
        self._answering: dict[bytes, set[asyncio.Task]] = {}

    async def run(self) -> None:
        """Serves until it is cancelled; after `finish`, only answers are sent."""
        self._receiving = asyncio.create_task(self._receive())
        await asyncio.gather(self._watch(), self._follow_subscriptions(), self._retry())

    async def _watch(self):
        """Raises what ends `_receive`, but that it is cancelled."""
        await asyncio.wait([self._receiving])
        if not self._receiving.cancelled():
            self._receiving.result()

    async def finish(self) -> None:
        """Answers every request that has come, and takes no more."""
        self._receiving.cancel()
        with contextlib.suppress(zmq.Again):
            while True:
                self._try_to_take(
                    await self._pull.recv_multipart(zmq.DONTWAIT, copy=False)
                )
        while tasks := set().union(*self._answering.values()):
            await asyncio.wait(tasks)
        end = time.monotonic() + _LINGER
        while self._held and time.monotonic() < end:
            await asyncio.sleep(_RETRY_SECONDS)

    def close(self) -> None:
        """Gives the ports free."""
        self._pull.close(0)
        self._publish.close()
        self._context.term()

    async def _receive(self):
        while True:
            self._try_to_take(await self._pull.recv_multipart(copy=False))
            await asyncio.sleep(0)  # lets the request be counted
            # What is not let in yet stays in libzmq's queues, and then in the clients'.
            await self._service.wait_for_room()

    def _try_to_take(self, frames):
        try:
            self._take(frames)
        except UserError as error:
            logging.log_every_n_seconds(
                logging.WARNING, "a request is dropped: %s", 1, error
            )

    def _take(self, frames):
        """Begins to answer a request; raises UserError where nobody can be answered."""
        if len(frames) != 4:
            raise UserError(f"it has {len(frames)} frames; wanted 4")
        identity, message, request, number = (frame.bytes for frame in frames)
        if not 0 < len(identity) <= _LONGEST_IDENTITY:
            raise UserError(
                f"the identity has {len(identity)} bytes; wanted 1 to "
                f"{_LONGEST_IDENTITY}"
            )
        if message == b"TERMINATION":
            self._terminate(frames[1])
            return
        if not re.fullmatch(rb"[0-9]{1,18}", request):
            raise UserError(f"request id {request[:40]!r}; wanted a number")
        if message in (b"SHOW_CONFIG", b"SHOW_STATUS"):
            self._service.statistics.count(identity, None)
            status = message == b"SHOW_STATUS"
            told = self._service.status() if status else self._service.config()
            self._reply(identity, [_json(told), request])
            return
        task = asyncio.create_task(self._answer(identity, message, request, number))
        self._answering.setdefault(identity, set()).add(task)
        task.add_done_callback(lambda done: self._forget(identity, done))

    def _forget(self, identity, task):
        tasks = self._answering[identity]
        tasks.discard(task)
        if not tasks:
            del self._answering[identity]

    def _terminate(self, frame):
        address = _peer(frame)
        if self._remote_termination or _is_loopback(address):
            logging.info("%s asks for the end", address)
            self._service.stopping.set()
        else:
            logging.warning(
                "TERMINATION from %s is not heeded: wanted from this machine, or "
                "--remote_termination",
                address,
            )

    async def _answer(self, identity, message, request, number):
        try:
            texts = _texts(message, number)
            found = await self._service.encode(texts, identity, insist=True)
        except (UserError, Stopped) as error:
            self._reply(identity, [*_error(str(error)), request])
        except Exception as error:
            # The engine has logged it. Its first line, without TensorFlow's graph.
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            self._reply(identity, [*_error(f"the computation failed: {text}"), request])
        else:
            vectors = np.ascontiguousarray(found.vectors)
            told = {
                "dtype": str(vectors.dtype),
                "shape": vectors.shape,
                "tokens": found.tokens() if self._show_tokens else "",
            }
            self._reply(identity, [_json(told), vectors, request])

    async def _follow_subscriptions(self):
        while True:
            event = await self._publish.recv()
            topic = event[1:]
            if event[:1] == b"\1":
                self._topics.add(topic)
                for identity in list(self._held):
                    if identity.startswith(topic):
                        self._send_held(identity)
            elif event[:1] == b"\0":
                self._topics.discard(topic)
                self._drop_left(topic)

    def _drop_left(self, topic):
        """Drops what nobody waits for any more."""
        for identity in list(self._answering):
            if identity.startswith(topic) and not self._is_subscribed(identity):
                for task in self._answering[identity]:
                    task.cancel()

    def _is_subscribed(self, identity):
        ends = range(len(identity) + 1)
        return any(identity[:end] in self._topics for end in ends)

    def _reply(self, identity, frames):
        """Publishes an answer, now or when it can be."""
        size = sum(memoryview(frame).nbytes for frame in frames)
        held = self._held.setdefault(identity, collections.deque())
        held.append((time.monotonic(), frames, size))
        self._held_bytes += size
        self._send_held(identity)

    def _send_held(self, identity):
        """Publishes what can be; forgets what is too old, or too much."""
        held = self._held[identity]
        oldest = time.monotonic() - _HELD_SECONDS
        while held:
            since, frames, size = held[0]
            sent = self._is_subscribed(identity) and self._send([identity, *frames])
            if not sent:
                if since > oldest and self._held_bytes <= _HELD_BYTES:
                    return
                logging.warning("an answer is dropped: client %r is gone", identity)
            held.popleft()
            self._held_bytes -= size
        del self._held[identity]

    def _send(self, frames):
        """Returns whether it could be sent without waiting."""
        sent = self._publish.send_multipart(frames, zmq.DONTWAIT)
        error = sent.exception()
        if error is not None and not isinstance(error, zmq.Again):
            raise error
        return error is None

    async def _retry(self):
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            for identity in list(self._held):
                self._send_held(identity)


def _bind(socket, host, port, flag):
    """Takes a port; returns its number."""
    try:
        socket.bind(f"tcp://{host}:{port or '*'}")
    except zmq.ZMQError as error:
        raise UserError(
            f"{flag} {port} at {host}: {error.strerror}; {flag} and --host say which "
            "is taken"
        ) from error
    return int(socket.last_endpoint.rpartition(b":")[2])


def _texts(message, number):
    try:
        texts = json.loads(message)
    except ValueError as error:
        raise UserError(f"the message is no JSON: {error}") from error
    except RecursionError as error:
        raise UserError("the message is nested too deeply") from error
    if not isinstance(texts, list) or number != b"%d" % len(texts):
        raise UserError(
            f"the message has {len(texts) if isinstance(texts, list) else 'no'} texts, "
            f"and says that they are {number[:20].decode(errors='replace')}"
        )
    return texts


def _json(values):
    return json.dumps(values).encode()


def _error(message):
    """Frames of which the client's numpy raises an error that shows the message.

    numpy takes a comma for one between types, and says nothing useful then.
    """
    text = f"error: {message}".replace(",", ";")
    text = re.sub(r"\s+", " ", text)[:500]
    return [_json({"dtype": text, "shape": [0], "tokens": ""}), b""]


def _peer(frame):
    """The address that a frame comes from; "" where libzmq does not say."""
    try:
        return frame.get("Peer-Address")
    except (zmq.ZMQError, ValueError):
        return ""


def _is_loopback(address):
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
