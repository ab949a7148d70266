"""A stream of server-sent events behind the edge, as an RPC with a REST route of its own."""

import asyncio
from typing import Any

from google.api import annotations_pb2, httpbody_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor

from gateway.contract import Contract, contract_of, load
from geomesh.options.v1 import options_pb2

PATH = "/v1/ticks:watch"
WATCH = "/geomesh.gateway.v1.TickerService/Watch"


def contract() -> Contract:
    """Returns the API with the stream in it, as if the gateway served it."""
    return contract_of([*load().files, _file()])


def _file() -> FileDescriptor:
    name = "geomesh/gateway/v1/ticker.proto"
    pool = descriptor_pool.Default()
    try:
        found: FileDescriptor = pool.FindFileByName(name)
    except KeyError:
        file = descriptor_pb2.FileDescriptorProto(name=name, package="geomesh.gateway.v1", syntax="proto3")
        imported = (annotations_pb2, httpbody_pb2, options_pb2)
        file.dependency.extend(each.DESCRIPTOR.name for each in imported)
        file.message_type.add(name="WatchRequest")
        method = file.service.add(name="TickerService").method.add(name="Watch", server_streaming=True)
        method.input_type, method.output_type = ".geomesh.gateway.v1.WatchRequest", ".google.api.HttpBody"
        method.options.idempotency_level = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
        method.options.Extensions[options_pb2.requires] = options_pb2.PERMISSION_READ_OWN_DATA
        method.options.Extensions[annotations_pb2.http].get = PATH
        pool.AddSerializedFile(file.SerializeToString())
        found = pool.FindFileByName(name)
    return found


class Ticker:
    """Sends one event at once and each further one when it is told to.

    Attributes:
        opened: What came with each stream that was opened.
        closed: How many of them ended because their reader went away.
    """

    def __init__(self) -> None:
        self.opened: list[dict[str, Any]] = []
        self.closed = 0
        self._go_on = asyncio.Semaphore(0)

    def tick(self) -> None:
        """Lets one more event out."""
        self._go_on.release()

    async def watch(self, request: bytes, context: Any) -> Any:
        """Answers the RPC."""
        del request
        self.opened.append(dict(context.invocation_metadata()))
        number = int(self.opened[-1].get("last-event-id", 0))
        try:
            while True:
                number += 1
                event = f"id: {number}\ndata: tick {number}\n\n".encode()
                yield httpbody_pb2.HttpBody(content_type="text/event-stream", data=event).SerializeToString()
                await self._go_on.acquire()
        except asyncio.CancelledError:
            self.closed += 1
            raise
