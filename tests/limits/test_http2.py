"""The listener that Envoy asks, tried with gRPC's own client and with what no client sends."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.http2 import Listener

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
METHOD = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"


async def backwards(request: bytes) -> bytes:
    await asyncio.sleep(random.random() / 100)  # answers overtake each other
    if request == b"fail":
        raise RuntimeError("as told")
    return request[::-1]


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener("127.0.0.1", 0, backwards)
    await listener.start()
    yield listener
    await listener.close()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">BHBBI", 0, len(payload), kind, flags, stream) + payload


async def spoken(listener: Listener, sent: bytes) -> bytes:
    """Sends bytes, ends, and returns what comes until the listener closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


def kinds(answer: bytes) -> list[int]:
    """Returns the kinds of the frames in an answer."""
    found, at = [], 0
    while at < len(answer):
        high, low, kind = struct.unpack_from(">BHB", answer, at)
        found.append(kind)
        at += 9 + (high << 16 | low)
    return found


async def test_answers_each_of_many_calls_at_once_with_its_own_answer(listener: Listener) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        method: Any = channel.unary_unary(METHOD)
        requests = [f"{n:05}".encode() * (n % 200 + 1) for n in range(2_000)]
        answers = await asyncio.gather(*(method(request) for request in requests))
    assert answers == [request[::-1] for request in requests]


async def test_a_megabyte_of_answers_waits_for_room(listener: Listener) -> None:
    """What is under way at one time is more than the window that the peer begins with."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        method: Any = channel.unary_unary(METHOD)
        answers = await asyncio.gather(*(method(b"ab" * 5_000) for _ in range(200)))
    assert set(answers) == {b"ba" * 5_000}


async def test_a_failure_is_one_calls_alone(listener: Listener) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        method: Any = channel.unary_unary(METHOD)
        failed, answered = method(b"fail"), method(b"abc")
        assert await failed.code() is grpc.StatusCode.INTERNAL
        assert await answered == b"cba"


async def test_finishes_what_is_in_work_when_it_closes(listener: Listener) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        method: Any = channel.unary_unary(METHOD)
        assert await method(b"ab") == b"ba"
        calls = [asyncio.ensure_future(method(b"abc")) for _ in range(50)]
        await asyncio.sleep(0.003)
        await listener.close()
        answers = await asyncio.gather(*calls, return_exceptions=True)
    # What had arrived is answered; what came later is refused as never begun.
    refused = [each.code() for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert set(refused) <= {grpc.StatusCode.UNAVAILABLE}
    assert answers.count(b"cba") == len(answers) - len(refused)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        PREFACE + frame(5, 4, 1),  # a push promise
        PREFACE + SETTINGS + frame(1, 4, 2),  # a stream of ours
        PREFACE + SETTINGS + frame(0, 1, 1, b"data"),  # of a stream that nobody opened
        PREFACE + SETTINGS + frame(1, 0, 1) + frame(6, 0, 0, b"8" * 8),  # headers that do not go on
        PREFACE + SETTINGS + frame(9, 4, 1),  # a continuation of nothing
        PREFACE + SETTINGS + frame(6, 0, 0, b"short"),
        PREFACE + SETTINGS + frame(8, 0, 0, struct.pack(">I", 0)),
        PREFACE + SETTINGS + b"\x7f\xff\xff\0\0\0\0\0\x01",  # a frame of eight megabytes
        PREFACE + SETTINGS + frame(1, 4, 1) + frame(0, 8, 1, b"\xffx"),  # more padding than there is
    ],
    ids=lambda sent: repr(sent[24:44]),
)
async def test_what_may_not_be_sent_ends_the_connection(listener: Listener, sent: bytes) -> None:
    assert kinds(await spoken(listener, sent))[-1] == 7  # GOAWAY


async def test_knows_pings_and_passes_over_what_it_does_not_know(listener: Listener) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(
        PREFACE + SETTINGS + frame(99, 0, 0, b"what") + frame(2, 0, 3, b"\0" * 5) + frame(6, 0, 0, b"12345678")
    )
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"12345678")
    assert kinds(answer) == [4, 4, 6]
    writer.close()


async def test_reads_a_request_in_pieces_with_padding_and_trailers(listener: Listener) -> None:
    request = struct.pack(">BI", 0, 3) + b"abc"
    pieces = [
        frame(1, 0, 1, b"part of "),
        frame(9, 4, 1, b"headers"),
        frame(0, 8, 1, b"\x02" + request[:4] + b"\0\0"),
        frame(0, 0, 1, request[4:]),
        frame(1, 5, 1, b"trailers"),
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    for byte in PREFACE + SETTINGS + b"".join(pieces):
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"grpc-status\x010")
    assert struct.pack(">BI", 0, 3) + b"cba" in answer
    writer.close()


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40)), max_size=12)
)
def test_no_sequence_of_frames_breaks_it(frames: list[tuple[int, int, int, bytes]]) -> None:
    async def tried() -> bytes:
        listener = Listener("127.0.0.1", 0, backwards)
        await listener.start()
        await spoken(listener, PREFACE + SETTINGS + b"".join(frame(*each) for each in frames))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
            method: Any = channel.unary_unary(METHOD)
            answer: bytes = await method(b"abc")
        await listener.close()
        return answer

    assert asyncio.run(tried()) == b"cba"
