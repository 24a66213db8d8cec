"""A server's ports, and its end."""

import asyncio
import socket
from collections.abc import Awaitable, Sequence
from typing import Protocol

from absl import logging

from errors import UserError
from serving.service import Service


class Front(Protocol):
    """A protocol that a server speaks."""

    def run(self) -> Awaitable[None]:
        """Serves until it is cancelled."""
        ...

    def finish(self) -> Awaitable[None]:
        """Answers what has come, and takes no more."""
        ...

    def close(self) -> None:
        """Gives its ports free."""
        ...


def check_free(host: str, port: int, flag: str) -> None:
    """Refuses a port that is taken; before a model is loaded, which takes long.

    Args:
      host: the address.
      port: 0 is always free.
      flag: that says which port.

    Raises:
      UserError: it is taken, or the address is not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        raise UserError(
            f"-{flag}={port} at --host={host}: {error.strerror}; give another one"
        ) from error


async def serve(service: Service, fronts: Sequence[Front]) -> None:
    """Serves until `service.stopping` is set; what has come until then is answered.

    Args:
      service: answers.
      fronts: bring requests.
    """
    stopping = asyncio.create_task(service.stopping.wait())
    running = [asyncio.create_task(front.run()) for front in fronts]
    try:
        await asyncio.wait([stopping, *running], return_when=asyncio.FIRST_COMPLETED)
        if service.stopping.is_set():
            logging.info("the server answers what is waiting, and ends")
            await asyncio.gather(*(front.finish() for front in fronts))
    finally:
        for task in (stopping, *running):
            task.cancel()
        ends = await asyncio.gather(stopping, *running, return_exceptions=True)
        for front in fronts:
            front.close()
        service.stop()
    for end in ends:
        if isinstance(end, Exception):
            raise end
