"""What Envoy's own protocol is spoken with: many calls on one connection, broken ones, and an end that loses none."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from gateway.limits.listener import SERVICE, Listener
from gateway.limits.settings import Settings
from tests.ports import free_port

METHOD = f"/{SERVICE}/ShouldRateLimit"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes.fromhex("000000040000000000")
Reply = Callable[[bytes], None]


class Later:
    """Answers with what it was asked, when it is told to; at once if it is asked for nothing else."""

    def __init__(self) -> None:
        self.waits = False
        self.waiting: list[tuple[bytes, Reply]] = []
        self.one_waits = asyncio.Event()

    def __call__(self, request: bytes, reply: Reply) -> None:
        if not self.waits:
            reply(request)
            return
        self.waiting.append((request, reply))
        self.one_waits.set()

    def go_on(self) -> None:
        """Answers whoever waits."""
        for request, reply in self.waiting:
            reply(request)


@pytest.fixture
def later() -> Later:
    return Later()


@pytest.fixture
async def listener(later: Later) -> AsyncIterator[tuple[Listener, int]]:
    port = free_port()
    listener = Listener(Settings(host="127.0.0.1", counting_port=port), later)
    await listener.start()
    yield listener, port
    await listener.close()


@pytest.fixture
async def channel(listener: tuple[Listener, int]) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{listener[1]}") as channel:
        yield channel


def asking(channel: grpc.aio.Channel, method: str = METHOD) -> Any:
    return channel.unary_unary(method)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


@pytest.mark.parametrize("size", [0, 1, 500, 20_000, 60_000])
async def test_a_request_of_any_size_is_answered(channel: grpc.aio.Channel, size: int) -> None:
    question = b"q" * size
    # What Envoy may send is never more than it makes room for in turn, however many calls share the connection.
    for _ in range(5):
        assert await asking(channel)(question, timeout=10) == question


async def test_thousands_at_once_are_each_told_their_own(channel: grpc.aio.Channel) -> None:
    ask = asking(channel)
    answers = await asyncio.gather(*(ask(b"%d" % n, timeout=30) for n in range(3_000)))
    assert answers == [b"%d" % n for n in range(3_000)]


async def test_who_waits_holds_nobody_up(channel: grpc.aio.Channel, later: Later) -> None:
    ask = asking(channel)
    later.waits = True
    slow = asyncio.ensure_future(ask(b"slow", timeout=10))
    await later.one_waits.wait()
    later.waits = False
    assert await ask(b"quick", timeout=10) == b"quick"
    later.go_on()
    assert await slow == b"slow"


async def test_who_goes_away_is_forgotten(channel: grpc.aio.Channel, later: Later) -> None:
    ask = asking(channel)
    later.waits = True
    call = ask(b"gone", timeout=0.2)
    code, _ = await refusal(call)
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    later.waits = False
    assert await ask(b"next", timeout=10) == b"next"
    later.go_on()
    assert await ask(b"and one more", timeout=10) == b"and one more"


async def test_there_is_no_other_rpc(channel: grpc.aio.Channel) -> None:
    code, details = await refusal(asking(channel, "/envoy.service.auth.v3.Authorization/Check")(b"", timeout=10))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert details == f"there is only {METHOD} here"


async def test_a_huge_request_is_refused(channel: grpc.aio.Channel) -> None:
    code, details = await refusal(asking(channel)(b"q" * 100_000, timeout=10))
    assert (code, details) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "a request has at most 65000 bytes")
    assert await asking(channel)(b"next", timeout=10) == b"next"


async def test_two_messages_are_not_one_request(channel: grpc.aio.Channel) -> None:
    call: Any = channel.stream_unary(METHOD)
    code, details = await refusal(call(iter([b"one", b"two"]), timeout=10))
    assert (code, details) == (grpc.StatusCode.INTERNAL, "a request is one message, not compressed")


async def test_a_compressed_message_is_refused(channel: grpc.aio.Channel) -> None:
    ask = asking(channel)
    code, details = await refusal(ask(b"q" * 1_000, timeout=10, compression=grpc.Compression.Gzip))
    assert (code, details) == (grpc.StatusCode.INTERNAL, "a request is one message, not compressed")


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"GET / HTTP/1.1\r\nhost: limits\r\n\r\n", "preface"),
        (PREFACE + SETTINGS + bytes.fromhex("000001000000000001") + b"x", "before its head"),
        (PREFACE + SETTINGS + bytes.fromhex("004e20000000000001") + bytes(20_000), "a frame has 20000 bytes"),
        (PREFACE + SETTINGS + bytes.fromhex("000003010500000001") + b"\xff\xff\xff", "header block"),
    ],
    ids=["another protocol", "a body before its head", "a huge frame", "a broken head"],
)
async def test_what_is_no_http_2_ends_that_connection_alone(
    listener: tuple[Listener, int],
    channel: grpc.aio.Channel,
    capsys: pytest.CaptureFixture[str],
    sent: bytes,
    why: str,
) -> None:
    assert await asking(channel)(b"before", timeout=10) == b"before"
    reader, writer = await asyncio.open_connection("127.0.0.1", listener[1])
    writer.write(sent)
    with contextlib.suppress(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 10)  # to its end
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert why in capsys.readouterr().out
    assert await asking(channel)(b"after", timeout=10) == b"after"


async def test_what_was_asked_before_the_end_is_answered(
    listener: tuple[Listener, int], channel: grpc.aio.Channel, later: Later
) -> None:
    ask = asking(channel)
    later.waits = True
    calls = [asyncio.ensure_future(ask(b"%d" % n, timeout=10)) for n in range(10)]
    while len(later.waiting) < len(calls):
        await asyncio.wait_for(later.one_waits.wait(), 10)
        later.one_waits.clear()
    closing = asyncio.ensure_future(listener[0].close())
    await asyncio.sleep(0.2)
    later.go_on()
    assert await asyncio.gather(*calls) == [b"%d" % n for n in range(10)]
    await closing
    assert (await refusal(ask(b"too late", timeout=1)))[0] is grpc.StatusCode.UNAVAILABLE


async def test_the_end_waits_for_no_answer_that_never_comes(
    listener: tuple[Listener, int], channel: grpc.aio.Channel, later: Later
) -> None:
    later.waits = True
    call = asyncio.ensure_future(asking(channel)(b"never", timeout=10))
    await later.one_waits.wait()
    await asyncio.wait_for(listener[0].close(), 5)
    assert (await refusal(call))[0] is grpc.StatusCode.UNAVAILABLE


async def test_a_port_that_is_taken_is_named(listener: tuple[Listener, int]) -> None:
    with pytest.raises(SystemExit, match=f"cannot listen on 127.0.0.1:{listener[1]}"):
        await Listener(Settings(host="127.0.0.1", counting_port=listener[1]), Later()).start()
