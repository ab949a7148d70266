"""The limit: a bare grpc.aio server on uvloop that does nothing but answer EncodeLocation with a fixed reply."""

import asyncio
import sys

import grpc
import uvloop

from geomesh.spatial_index.v1 import spatial_index_pb2 as pb

REPLY = pb.EncodeLocationResponse(cells=[pb.H3Cell(resolution=9, cell="8928308280fffff")])


async def main(port: int) -> None:
    """Answers until the process ends."""

    async def answer(request: pb.EncodeLocationRequest, context: object) -> pb.EncodeLocationResponse:
        del request, context
        return REPLY

    handler = grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=pb.EncodeLocationRequest.FromString,
        response_serializer=pb.EncodeLocationResponse.SerializeToString,
    )
    service = "geomesh.spatial_index.v1.SpatialIndexService"
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"EncodeLocation": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
