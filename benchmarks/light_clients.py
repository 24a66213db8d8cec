"""Many clients of a server in one thread, as light as can be.

Messages are ready before the clock runs, and answers are only kept while it does: what
is measured is the server, which needs the same cores.
"""

import asyncio
import collections
import math
import os
import time
from collections.abc import Sequence

import numpy as np
import zmq


def over_zmq(
    ports: Sequence[int], messages: Sequence[bytes], clients: int, every: float = 0.0
) -> tuple[list[list[bytes]], np.ndarray]:
    """Asks by bert-as-service's protocol.

    Args:
      ports: for requests, for answers.
      messages: JSON with one text each.
      clients: each has one request under way.
      every: seconds from when a message is due to when the next one is; 0: a client
        asks again when it has been answered.

    Returns:
      The frames of each answer; seconds from when a message was due, or asked.
    """
    context, poller = zmq.Context(), zmq.Poller()
    free = collections.deque()
    for i in range(clients):
        identity = b"%d-%d-%d" % (os.getpid(), time.time_ns(), i)
        push, answers = context.socket(zmq.PUSH), context.socket(zmq.SUB)
        answers.setsockopt(zmq.SUBSCRIBE, identity)
        push.connect(f"tcp://127.0.0.1:{ports[0]}")
        answers.connect(f"tcp://127.0.0.1:{ports[1]}")
        poller.register(answers, zmq.POLLIN)
        free.append((push, answers, identity))
    asking = {}  # where answers come, to the message, since when, and its client
    found, seconds = [None] * len(messages), np.zeros(len(messages))
    sent = done = 0
    began = time.perf_counter() + (0.2 if every else 0.0)
    while done < len(messages):
        wait = None
        while free and sent < len(messages):
            now = time.perf_counter()
            due = began + sent * every if every else now
            if due > now:
                wait = math.ceil(1e3 * (due - now))
                break
            push, answers, identity = client = free.popleft()
            asking[answers] = sent, due, client
            push.send_multipart([identity, messages[sent], b"%d" % sent, b"1"])
            sent += 1
        for answers, _ in poller.poll(wait):
            frames = answers.recv_multipart()
            i, due, client = asking.pop(answers)
            found[i], seconds[i] = frames, time.perf_counter() - due
            free.append(client)
            done += 1
    context.destroy(0)
    return found, seconds


def over_http(port: int, path: str, bodies: Sequence[bytes], clients: int) -> list:
    """Posts JSON, each client over one connection.

    Args:
      port: at 127.0.0.1.
      path: of all requests.
      bodies: of each.
      clients: each has one request under way.

    Returns:
      The body of each answer.
    """
    found = [None] * len(bodies)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
    requests = [
        b"%s\r\nContent-Length: %d\r\n\r\n%s" % (head.encode(), len(body), body)
        for body in bodies
    ]

    async def client(first):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        for i in range(first, len(requests), clients):
            writer.write(requests[i])
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b" 200 " not in head[:20]:
                raise OSError(head.decode())
            size = int(head.partition(b"content-length:")[2].split(maxsplit=1)[0])
            found[i] = await reader.readexactly(size)
        writer.close()

    async def run():
        await asyncio.gather(*map(client, range(clients)))

    asyncio.run(run())
    return found
