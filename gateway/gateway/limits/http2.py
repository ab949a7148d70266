"""The server's end of an HTTP/2 connection (RFC 9113) whose calls are one short request and one short reply.

hpack reads and writes header blocks, hyperframe the frames that are rare. What is here is what such calls need of the rest: who
may send how much, and which request a frame belongs to. h2 does all of HTTP/2, and a call took six times as long with
it; docs/limits.md has the figures.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Final, NoReturn

from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple
from hyperframe.exceptions import HyperframeError, InvalidFrameError
from hyperframe.frame import (
    Frame,
    GoAwayFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

Ask = Callable[[int, bytes, bytes], None]
"""Takes a request: its stream, its path, and its body."""

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_PREFIX: Final = struct.Struct("!HBBBL")
"""Of a frame: its length in three bytes, its type, its flags, its stream."""
_DATA, _HEADERS, _SETTINGS, _CONTINUATION = 0, 1, 4, 9
_END_STREAM, _END_HEADERS, _PADDED, _PRIORITY = 1, 4, 8, 32
_PRIORITY_BYTES: Final = 5
_STREAM: Final = 2**31 - 1
_FIRST_WINDOW: Final = 65_535
_LARGEST_WINDOW: Final = 2**31 - 1
_LONGEST_FRAME: Final = 16_384
"""Of ours and, since nothing else is said, of the other end's."""
_LARGEST_FRAME: Final = 2**24
_FIRST_TABLE: Final = 4_096
_NO_TABLE: Final = b"\x20"
"""Begins a block, and says that it and those after it refer to nothing that was sent before."""
_LONGEST_HEAD: Final = 65_536
"""Of a head in several frames, in bytes, and of the fields in it."""
_MOST_AT_ONCE: Final = 1_000
"""Calls under way on one connection; Envoy opens another for the rest."""
_MOST_AT_FIRST: Final = 10_000
"""The same before the other end has read that there is a limit."""
_MOST_HELD: Final = 16 * 2**20
"""Bytes of requests that have not come to their end."""
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_HTTP_1: Final = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})


class Code(IntEnum):
    """Why a connection or a stream ends, by RFC 9113, section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    FLOW_CONTROL_ERROR = 0x3
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    COMPRESSION_ERROR = 0x9
    ENHANCE_YOUR_CALM = 0xB


class BrokenError(Exception):
    """The other end did what HTTP/2 forbids; the connection tells it so and is good for nothing more."""


def head_block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Returns header fields in a form that depends on nothing that was sent before, and on which nothing will."""
    block: bytes = Encoder().encode([NeverIndexedHeaderTuple(name, value) for name, value in fields])
    return block


class Connection:
    """Takes what the other end sent, tells of requests, and gives what is to be sent.

    It reads and writes nothing itself. A request is told once it is whole, or once it has more than `most_bytes`, whatever
    comes of it then; one that the other end took back is never told, nor is its reply sent.
    """

    def __init__(self, ask: Ask, *, most_bytes: int) -> None:
        """Begins a connection, with the settings that are to be sent.

        Args:
            ask: Is told of each request, which may be replied to at once or later.
            most_bytes: Of the body of one request; less than 64 KiB, which the other end may send unasked.
        """
        self._ask = ask
        self._most_bytes = most_bytes
        self._unread = b""
        self._preface = _PREFACE
        self._introduced = False
        self._last = 0
        self._decoder = Decoder(max_header_list_size=_LONGEST_HEAD)
        # A header block that means the same until the table changes, and the path in it.
        self._usual = (b"", b"")
        # Stream, flags and block of a head in several frames.
        self._unfinished: tuple[int, int, bytearray] | None = None
        # Of requests that are not whole yet: all of them, and what came of the bodies of some.
        self._paths: dict[int, bytes] = {}
        self._bodies: dict[int, bytearray] = {}
        self._held = 0
        # Those that were answered before their end, which is still to come.
        self._cut: set[int] = set()
        self._read = 0
        self._knows_the_limit = False
        self._asked: set[int] = set()
        self._window = self._first_window = _FIRST_WINDOW
        # What a stream may be sent beyond the first window; negative once it was sent some.
        self._more: dict[int, int] = {}
        # What is left of bodies that had no room, and their trailers.
        self._waiting: dict[int, tuple[bytes, bytes]] = {}
        self._before_head = b""
        self._has_no_table = False
        ours = {SettingsFrame.MAX_CONCURRENT_STREAMS: _MOST_AT_ONCE, SettingsFrame.MAX_HEADER_LIST_SIZE: _LONGEST_HEAD}
        self._out = [SettingsFrame(0, settings=ours).serialize()]

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was asked still has to be sent."""
        return not (self._asked or self._waiting)

    def to_send(self) -> bytes:
        """Returns what is to be sent, once."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def receive(self, data: bytes) -> None:
        """Takes what the other end sent, in pieces of any size.

        Raises:
            BrokenError: It is not HTTP/2; why is among what is to be sent.
        """
        if self._unread:
            data = self._unread + data
        place = self._greet(data) if self._preface else 0
        size = len(data)
        while size - place >= _PREFIX.size:
            high, low, kind, flags, stream = _PREFIX.unpack_from(data, place)
            length = high << 8 | low
            if length > _LONGEST_FRAME:
                self._break(
                    Code.FRAME_SIZE_ERROR, f"a frame has {length} bytes, and {_LONGEST_FRAME} at most are allowed"
                )
            begin, end = place + _PREFIX.size, place + _PREFIX.size + length
            if end > size:
                break
            stream &= _STREAM
            if not self._introduced or self._unfinished is not None:
                self._check_order(kind, stream)
            if kind == _DATA:
                self._take_data(stream, flags, data[begin:end])
            elif kind == _HEADERS:
                self._take_headers(stream, flags, data[begin:end])
            elif kind == _CONTINUATION:
                self._take_continuation(flags, data[begin:end])
            else:
                self._take_rare(data[place:begin], data[begin:end])
            place = end
        self._unread = data[place:]

    def reply(self, stream: int, head: bytes, body: bytes, trailers: bytes) -> None:
        """Replies to a request, if it was not taken back meanwhile.

        Args:
            stream: The request's.
            head: Header block; see `head_block`.
            body: Not empty.
            trailers: Header block of what comes after it.
        """
        if stream not in self._asked:
            return
        self._asked.discard(stream)
        size = len(body)
        fits = size <= self._window and size <= self._first_window and size <= _LONGEST_FRAME
        if fits and not self._before_head:
            self._window -= size
            self._more.pop(stream, None)
            self._out += (
                *(_PREFIX.pack(0, len(head), _HEADERS, _END_HEADERS, stream), head),
                *(_PREFIX.pack(size >> 8, size & 0xFF, _DATA, 0, stream), body),
                *(_PREFIX.pack(0, len(trailers), _HEADERS, _END_HEADERS | _END_STREAM, stream), trailers),
            )
        else:
            self._out.append(self._head(_END_HEADERS, stream, head))
            self._waiting[stream] = body, trailers
            self._send_waiting()

    def refuse(self, stream: int, head: bytes) -> None:
        """Replies to a request with a head alone, if it was not taken back meanwhile."""
        if stream in self._asked:
            self._asked.discard(stream)
            self._more.pop(stream, None)
            self._out.append(self._head(_END_HEADERS | _END_STREAM, stream, head))

    def leave(self, *, last: bool) -> None:
        """Asks for no new requests; `last` says that no more are answered either."""
        frame = GoAwayFrame(0, last_stream_id=self._last if last else _STREAM, error_code=Code.NO_ERROR)
        self._out.append(frame.serialize())

    def _head(self, flags: int, stream: int, block: bytes) -> bytes:
        before, self._before_head = self._before_head, b""
        return _frame(_HEADERS, flags, stream, before + block)

    def _break(self, code: Code, why: str) -> NoReturn:
        frame = GoAwayFrame(0, last_stream_id=self._last, error_code=code, additional_data=why.encode())
        self._out.append(frame.serialize())
        self._asked.clear()  # replies that come later have nowhere to go
        self._waiting.clear()
        raise BrokenError(why)

    def _greet(self, data: bytes) -> int:
        """Returns how many of these bytes belong to the preface."""
        size = min(len(data), len(self._preface))
        if data[:size] != self._preface[:size]:
            self._break(Code.PROTOCOL_ERROR, "it begins with another preface than HTTP/2's")
        self._preface = self._preface[size:]
        return size

    def _check_order(self, kind: int, stream: int) -> None:
        if not self._introduced and kind != _SETTINGS:
            self._break(Code.PROTOCOL_ERROR, "its first frame does not hold settings")
        self._introduced = True
        if self._unfinished is not None and (kind, stream) != (_CONTINUATION, self._unfinished[0]):
            self._break(Code.PROTOCOL_ERROR, "something came within a head")

    def _take_data(self, stream: int, flags: int, payload: bytes) -> None:
        self._make_room(len(payload))
        if flags & _PADDED:
            payload = self._unpadded(payload)
        path = self._paths.get(stream)
        if path is None:
            self._take_late(stream, flags, "data")
            return
        if stream in self._bodies or not flags & _END_STREAM:
            self._held += len(payload)
            if self._held > _MOST_HELD:
                self._break(Code.ENHANCE_YOUR_CALM, f"requests that are not whole have more than {_MOST_HELD} bytes")
            body = self._bodies.setdefault(stream, bytearray())
            body += payload
            if not flags & _END_STREAM:
                if len(body) <= self._most_bytes:
                    return
                self._cut.add(stream)
            payload = bytes(body)
        self._tell(stream, path, payload)

    def _take_headers(self, stream: int, flags: int, payload: bytes) -> None:
        if flags & _PADDED:
            payload = self._unpadded(payload)
        if flags & _PRIORITY:
            if len(payload) < _PRIORITY_BYTES:
                self._break(Code.FRAME_SIZE_ERROR, "a head ends within its priority")
            payload = payload[_PRIORITY_BYTES:]
        if flags & _END_HEADERS:
            self._take_head(stream, flags, payload)
        else:
            self._unfinished = stream, flags, bytearray(payload)

    def _take_continuation(self, flags: int, payload: bytes) -> None:
        if self._unfinished is None:
            self._break(Code.PROTOCOL_ERROR, "a head goes on that did not begin")
        stream, first_flags, block = self._unfinished
        block += payload
        if len(block) > _LONGEST_HEAD:
            self._break(Code.ENHANCE_YOUR_CALM, f"a head has more than {_LONGEST_HEAD} bytes")
        if flags & _END_HEADERS:
            self._unfinished = None
            self._take_head(stream, first_flags, bytes(block))

    def _take_head(self, stream: int, flags: int, block: bytes) -> None:
        if stream % 2 == 0:
            self._break(Code.PROTOCOL_ERROR, f"a head came on stream {stream}, which is not a client's")
        if stream <= self._last:
            self._take_trailers(stream, flags, block)
            return
        path = self._path_in(block)  # whatever comes of the request, the table must be as the other end has it
        self._last = stream
        under_way = len(self._paths) + len(self._asked) + len(self._cut)
        if under_way >= (_MOST_AT_ONCE if self._knows_the_limit else _MOST_AT_FIRST):
            self._reset(stream, Code.REFUSED_STREAM)
        elif not path:
            self._reset(stream, Code.PROTOCOL_ERROR)
        elif flags & _END_STREAM:
            self._tell(stream, path, b"")
        else:
            self._paths[stream] = path

    def _take_trailers(self, stream: int, flags: int, block: bytes) -> None:
        fields, _changed = self._decoded(block)
        path = self._paths.get(stream)
        if path is None:
            self._take_late(stream, flags, "trailers")
        elif not flags & _END_STREAM or any(name.startswith(b":") for name, _ in fields):
            self._reset(stream, Code.PROTOCOL_ERROR)
        else:
            self._tell(stream, path, bytes(self._bodies.get(stream, b"")))

    def _take_late(self, stream: int, flags: int, what: str) -> None:
        """Takes what belongs to no request that is to come to its end."""
        if stream > self._last or stream % 2 == 0:
            self._break(Code.PROTOCOL_ERROR, f"{what} came on stream {stream} before its head")
        if stream not in self._cut:
            self._reset(stream, Code.STREAM_CLOSED)
        elif flags & _END_STREAM:
            self._cut.discard(stream)

    def _path_in(self, block: bytes) -> bytes:
        """Returns the path of a request, or nothing if the block is not a request's head."""
        if block == self._usual[0]:
            return self._usual[1]
        fields, changed = self._decoded(block)
        path = _path_of(fields)
        if not changed:  # Envoy says the same of every call, so this is nearly each of them
            self._usual = block, path
        return path

    def _decoded(self, block: bytes) -> tuple[list[tuple[bytes, bytes]], bool]:
        """Returns the fields, and whether other blocks mean something else from now on."""
        table = self._decoder.header_table
        before = table.maxsize, len(table.dynamic_entries), table.dynamic_entries[0] if table.dynamic_entries else None
        self._usual = b"", b""
        try:
            fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except HPACKError as error:
            self._break(Code.COMPRESSION_ERROR, f"a header block cannot be read: {error}")
        after = table.maxsize, len(table.dynamic_entries), table.dynamic_entries[0] if table.dynamic_entries else None
        # A new entry may equal the one before it, and pushes all others one place on.
        return fields, before[:2] != after[:2] or before[2] is not after[2]

    def _take_rare(self, prefix: bytes, payload: bytes) -> None:
        try:
            frame, _length = Frame.parse_frame_header(memoryview(prefix))
            frame.parse_body(memoryview(payload))
        except HyperframeError as error:
            code = Code.FRAME_SIZE_ERROR if isinstance(error, InvalidFrameError) else Code.PROTOCOL_ERROR
            self._break(code, f"a frame cannot be read: {error}")
        if isinstance(frame, SettingsFrame):
            if "ACK" in frame.flags:
                self._knows_the_limit = True
            else:
                self._take_settings(frame)
        elif isinstance(frame, WindowUpdateFrame):
            self._take_window(frame.stream_id, frame.window_increment)
        elif isinstance(frame, PingFrame):
            if "ACK" not in frame.flags:
                self._out.append(PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())
        elif isinstance(frame, RstStreamFrame):
            self._take_back(frame.stream_id)
        elif isinstance(frame, PushPromiseFrame):
            self._break(Code.PROTOCOL_ERROR, "a client promises a push")

    def _take_settings(self, frame: SettingsFrame) -> None:
        window = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, self._first_window)
        if window > _LARGEST_WINDOW:
            self._break(Code.FLOW_CONTROL_ERROR, f"a window has {window} bytes")
        longest = frame.settings.get(SettingsFrame.MAX_FRAME_SIZE, _LONGEST_FRAME)
        if not _LONGEST_FRAME <= longest < _LARGEST_FRAME or frame.settings.get(SettingsFrame.ENABLE_PUSH, 0) not in {
            0,
            1,
        }:
            self._break(Code.PROTOCOL_ERROR, "a setting has a value that it cannot have")
        self._first_window = window
        # Who keeps a smaller table than the first must be told that we know (RFC 7541, section 4.2). We need none at all.
        if not self._has_no_table and frame.settings.get(SettingsFrame.HEADER_TABLE_SIZE, _FIRST_TABLE) < _FIRST_TABLE:
            self._before_head, self._has_no_table = _NO_TABLE, True
        self._out.append(SettingsFrame(0, flags=["ACK"]).serialize())
        self._send_waiting()

    def _take_window(self, stream: int, more: int) -> None:
        if stream == 0:
            self._window += more
        elif stream > self._last:
            self._break(Code.PROTOCOL_ERROR, f"a window grew on stream {stream} before its head")
        elif stream in self._asked or stream in self._waiting or stream in self._paths:
            self._more[stream] = self._more.get(stream, 0) + more
        if self._window > _LARGEST_WINDOW:
            self._break(Code.FLOW_CONTROL_ERROR, f"the connection's window grew beyond {_LARGEST_WINDOW} bytes")
        if self._first_window + self._more.get(stream, 0) > _LARGEST_WINDOW:
            self._reset(stream, Code.FLOW_CONTROL_ERROR)
        self._send_waiting()

    def _take_back(self, stream: int) -> None:
        if stream > self._last:
            self._break(Code.PROTOCOL_ERROR, f"stream {stream} is taken back before it began")
        self._forget(stream)

    def _reset(self, stream: int, code: Code) -> None:
        self._forget(stream)
        self._out.append(RstStreamFrame(stream, error_code=code).serialize())

    def _forget(self, stream: int) -> None:
        self._forget_request(stream)
        self._cut.discard(stream)
        self._asked.discard(stream)
        self._waiting.pop(stream, None)
        self._more.pop(stream, None)

    def _tell(self, stream: int, path: bytes, body: bytes) -> None:
        self._forget_request(stream)
        self._asked.add(stream)
        self._ask(stream, path, body)

    def _forget_request(self, stream: int) -> None:
        self._paths.pop(stream, None)
        if self._bodies and (body := self._bodies.pop(stream, None)) is not None:
            self._held -= len(body)

    def _make_room(self, read: int) -> None:
        """Lets as much be sent again as was read. No stream needs it: what one may send fits into its first window."""
        self._read += read
        if self._read >= _FIRST_WINDOW // 2:
            self._out.append(WindowUpdateFrame(0, window_increment=self._read).serialize())
            self._read = 0

    def _send_waiting(self) -> None:
        """Sends as much of the bodies that wait as there is room for."""
        for stream, (body, trailers) in list(self._waiting.items()):
            left = body
            while left and (room := self._room(stream)) > 0:
                part, left = left[:room], left[room:]
                self._window -= len(part)
                self._more[stream] = self._more.get(stream, 0) - len(part)
                self._out.append(_frame(_DATA, 0, stream, part))
            if left:
                self._waiting[stream] = left, trailers
            else:
                del self._waiting[stream]
                self._more.pop(stream, None)
                self._out.append(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, trailers))

    def _room(self, stream: int) -> int:
        return min(self._window, self._first_window + self._more.get(stream, 0), _LONGEST_FRAME)

    def _unpadded(self, payload: bytes) -> bytes:
        if not payload or payload[0] >= len(payload):
            self._break(Code.PROTOCOL_ERROR, "a frame has more padding than bytes")
        return payload[1 : len(payload) - payload[0]]


def _path_of(fields: list[tuple[bytes, bytes]]) -> bytes:
    """Returns the path in the head of a request; nothing where RFC 9113, sections 8.2 and 8.3, calls it malformed."""
    first: dict[bytes, bytes] = {}
    for place, (name, value) in enumerate(fields):
        if name.startswith(b":"):
            if name not in _PSEUDO or name in first or len(first) != place:
                return b""
            first[name] = value
        elif not name or name != name.lower() or name in _HTTP_1 or (name == b"te" and value != b"trailers"):
            return b""
    return first.get(b":path", b"") if b":method" in first and b":scheme" in first else b""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return _PREFIX.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload
