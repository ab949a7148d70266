"""Our end of HTTP/2 against another's: h2's, which checks all that it is sent, and frames that no good end sends."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.limits.http2 import BrokenError, Code, Connection, head_block

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FIELDS = [(":method", "POST"), (":scheme", "http"), (":path", "/limits"), (":authority", "here"), ("te", "trailers")]
HEAD = head_block([(b":status", b"200"), (b"content-type", b"application/grpc")])
TRAILERS = head_block([(b"grpc-status", b"0")])
MOST_BYTES = 65_000
Codes = h2.settings.SettingCodes


@dataclass
class Ours:
    """Our end, and what it told."""

    told: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    echoes: bool = True

    def __post_init__(self) -> None:
        self.http = Connection(self._take, most_bytes=MOST_BYTES)

    def _take(self, stream: int, path: bytes, body: bytes) -> None:
        self.told.append((stream, path, body))
        if self.echoes:
            self.http.reply(stream, HEAD, body or b"-", TRAILERS)


@dataclass
class Reply:
    """What the other end was sent on one stream."""

    head: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    reset: int | None = None


class Theirs:
    """The other end: h2, which raises an error at whatever it must not be sent."""

    def __init__(self, settings: dict[h2.settings.SettingCodes, int] | None = None) -> None:
        configuration = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self.http = h2.connection.H2Connection(configuration)
        self.http.local_settings = h2.settings.Settings(client=True, initial_values=settings or {})
        self.http.initiate_connection()
        self.replies: dict[int, Reply] = {}

    def ask(self, body: bytes, *, fields: Iterable[tuple[str, str]] = FIELDS) -> int:
        stream: int = self.http.get_next_available_stream_id()
        self.http.send_headers(stream, list(fields))
        for start in range(0, max(len(body), 1), 16_384):
            self.http.send_data(stream, body[start : start + 16_384], end_stream=start + 16_384 >= len(body))
        return stream

    def take(self, data: bytes) -> None:
        for event in self.http.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.replies[event.stream_id] = Reply(head=dict(event.headers))
            elif isinstance(event, h2.events.DataReceived):
                self.replies[event.stream_id].body += event.data
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                self.replies[event.stream_id].trailers = dict(event.headers)
            elif isinstance(event, h2.events.StreamReset):
                self.replies.setdefault(event.stream_id, Reply()).reset = event.error_code


def exchange(ours: Ours, theirs: Theirs) -> None:
    """Carries everything between the two until neither has more to send."""
    for _ in range(1_000):
        sent, received = theirs.http.data_to_send(), ours.http.to_send()
        if not sent and not received:
            return
        ours.http.receive(sent)
        theirs.take(received)
    raise AssertionError("they never come to an end")


def met() -> tuple[Ours, Theirs]:
    """Returns two ends that know each other's settings."""
    ours, theirs = Ours(), Theirs()
    exchange(ours, theirs)
    return ours, theirs


def raw(*frames: Frame, settings: bool = True) -> bytes:
    begun = [SettingsFrame(0)] if settings else []
    return PREFACE + b"".join(frame.serialize() for frame in [*begun, *frames])


BLOCK = hpack.Encoder().encode(FIELDS)
WHOLE = ["END_HEADERS", "END_STREAM"]


@given(
    pieces=st.lists(st.integers(1, 40_000), min_size=1, max_size=30), sizes=st.lists(st.integers(0, 20_000), max_size=5)
)
@example(pieces=[1], sizes=[0, 1, 300])
def test_what_comes_in_any_pieces_is_the_same(pieces: list[int], sizes: list[int]) -> None:
    ours, theirs = Ours(), Theirs()
    theirs.take(ours.http.to_send())
    asked = [(theirs.ask(b"q" * size), size) for size in sizes if sum(sizes) <= 60_000]
    sent = theirs.http.data_to_send()
    number = 0
    while sent:
        size = pieces[number % len(pieces)] if len(sent) < 5_000 * len(pieces) else 4_000
        ours.http.receive(sent[:size])
        sent, number = sent[size:], number + 1
    exchange(ours, theirs)
    bodies = [(stream, b"/limits", b"q" * size) for stream, size in asked]
    assert ours.told == bodies
    for stream, _path, body in bodies:
        assert theirs.replies[stream] == Reply(
            {b":status": b"200", b"content-type": b"application/grpc"}, body or b"-", {b"grpc-status": b"0"}
        )
    assert ours.http.is_idle


FIELD = st.sampled_from([("x-a", "1"), ("x-a", "2"), ("x-bc", "a longer value"), ("x-d", "4" * 40)])


@given(
    st.lists(
        st.tuples(st.sampled_from(["/one", "/two", "/three"]), st.lists(FIELD, max_size=3), st.booleans()),
        max_size=25,
    ),
    st.sampled_from([0, 60, 130, 300, 4_096]),
)
def test_a_head_means_what_its_sender_means_whatever_the_table_became(
    calls: list[tuple[str, list[tuple[str, str]], bool]], table: int
) -> None:
    ours = Ours()
    sender = hpack.Encoder()
    sender.header_table_size = table
    ours.http.receive(PREFACE + SettingsFrame(0).serialize())
    for number, (path, more, sensitive) in enumerate(calls):
        kind = hpack.NeverIndexedHeaderTuple if sensitive else hpack.HeaderTuple
        fields = [(":method", "POST"), (":scheme", "http"), (":path", path), *more]
        block = sender.encode([kind(name.encode(), value.encode()) for name, value in fields])
        ours.http.receive(HeadersFrame(2 * number + 1, block, flags=["END_HEADERS", "END_STREAM"]).serialize())
    assert [path.decode() for _, path, _ in ours.told] == [path for path, _, _ in calls]


def new(path: bytes) -> bytes:
    """A head with a path that is to be remembered; it takes 41 bytes of the table."""
    assert len(path) == 4
    return b"\x83\x86\x44\x04" + path


def remembered(place: int) -> bytes:
    """A head with the path that was remembered last, or as many before."""
    return b"\x83\x86" + bytes([0x80 | 62 + place])


@pytest.mark.parametrize(
    ("blocks", "paths"),
    [
        ([new(b"/one"), remembered(0), new(b"/two"), remembered(0)], "one one two two"),
        (
            [new(b"/one"), remembered(0), remembered(0), new(b"/two"), remembered(0), remembered(1)],
            "one one one two two one",
        ),
        ([new(b"/two"), new(b"/one"), new(b"/one"), remembered(1), remembered(2)], "two one one one two"),
        # The table has room for three.
        (
            [b"\x3f\x5c" + new(b"/tre"), new(b"/two"), new(b"/one"), new(b"/one"), new(b"/one"), remembered(2)],
            "tre two one one one one",
        ),
        (
            [new(b"/one"), remembered(0), b"\x20\x3f\xe1\x1f\x83\x86\x04\x04/two", new(b"/tre"), remembered(0)],
            "one one two tre tre",
        ),
    ],
)
def test_the_same_bytes_are_read_anew_once_the_table_changed(blocks: list[bytes], paths: str) -> None:
    ours = Ours()
    ours.http.receive(raw(*(HeadersFrame(2 * place + 1, block, flags=WHOLE) for place, block in enumerate(blocks))))
    assert [path.decode() for _, path, _ in ours.told] == ["/" + each for each in paths.split()]


@pytest.mark.parametrize("window", [0, 1, 10, 65_535, 2**31 - 1])
def test_no_more_is_sent_than_the_other_end_has_room_for(window: int) -> None:
    ours, theirs = Ours(), Theirs({Codes.INITIAL_WINDOW_SIZE: window})
    exchange(ours, theirs)
    body = b"q" * (30_000 if window > 1_000 else 300)
    streams = [theirs.ask(body), theirs.ask(b"r")]
    exchange(ours, theirs)
    if window == 0:
        assert not ours.http.is_idle
        for stream in streams:
            theirs.http.increment_flow_control_window(100, stream)
    exchange(ours, theirs)
    assert [theirs.replies[stream].body for stream in streams] == [body, b"r"]
    assert ours.http.is_idle


def test_replies_beyond_the_connections_room_wait_and_come_whole() -> None:
    ours, theirs = met()
    ours.echoes = False
    streams = [theirs.ask(b"%d" % number) for number in range(20)]
    exchange(ours, theirs)
    for stream, _, body in ours.told:
        ours.http.reply(stream, HEAD, body * 15_000, TRAILERS)
    exchange(ours, theirs)
    assert [theirs.replies[stream].body for stream in streams] == [b"%d" % number * 15_000 for number in range(20)]


def test_room_that_came_with_new_settings_is_used() -> None:
    ours, theirs = Ours(), Theirs({Codes.INITIAL_WINDOW_SIZE: 0})
    exchange(ours, theirs)
    stream = theirs.ask(b"four")
    exchange(ours, theirs)
    assert theirs.replies[stream].body == b""
    theirs.http.update_settings({Codes.INITIAL_WINDOW_SIZE: 100})
    exchange(ours, theirs)
    assert theirs.replies[stream].body == b"four"


def test_who_remembers_no_fields_can_read_every_head() -> None:
    ours, theirs = met()
    theirs.http.update_settings({Codes.HEADER_TABLE_SIZE: 0})
    exchange(ours, theirs)
    streams = [theirs.ask(b"q") for _ in range(3)]
    exchange(ours, theirs)
    assert [theirs.replies[stream].trailers for stream in streams] == [{b"grpc-status": b"0"}] * 3


def test_what_was_taken_back_is_neither_told_nor_answered() -> None:
    ours, theirs = met()
    ours.echoes = False
    theirs.http.send_headers(1, FIELDS)
    theirs.http.send_data(1, b"half a req")
    theirs.http.reset_stream(1)
    later = theirs.ask(b"whole")
    exchange(ours, theirs)
    assert ours.told == [(later, b"/limits", b"whole")]
    theirs.http.reset_stream(later)
    exchange(ours, theirs)
    assert ours.http.is_idle
    ours.http.reply(later, HEAD, b"too late", TRAILERS)
    ours.http.refuse(later, HEAD)
    assert ours.http.to_send() == b""


def test_a_body_that_grows_too_large_is_told_once_and_its_rest_passed_over() -> None:
    ours, theirs = Ours(), Theirs()
    ours.echoes = False
    exchange(ours, theirs)
    theirs.http.send_headers(1, FIELDS)
    for _ in range(4):
        theirs.http.send_data(1, b"q" * 16_383)
    exchange(ours, theirs)
    assert [(stream, len(body)) for stream, _, body in ours.told] == [(1, 65_532)]
    ours.http.refuse(1, head_block([(b":status", b"200"), (b"grpc-status", b"8")]))
    exchange(ours, theirs)
    for late in (DataFrame(1, b"which was"), DataFrame(1, b"on its way", flags=["END_STREAM"])):
        ours.http.receive(late.serialize())
        assert ours.http.to_send() == b""
    assert theirs.replies[1] == Reply({b":status": b"200", b"grpc-status": b"8"})
    theirs.ask(b"next")
    exchange(ours, theirs)
    assert ours.told[1:] == [(3, b"/limits", b"next")]


def test_bodies_that_came_whole_leave_room_for_others() -> None:
    ours, theirs = met()
    for _ in range(600):
        theirs.ask(b"q" * 30_000)
        exchange(ours, theirs)
    assert [len(body) for _, _, body in ours.told] == [30_000] * 600


def test_calls_beyond_the_limit_are_refused_once_it_is_known() -> None:
    ours, theirs = Ours(), Theirs()
    ours.echoes = False
    first = [theirs.ask(b"q") for _ in range(100)]  # h2 takes a hundred for the limit until it knows better
    exchange(ours, theirs)
    assert theirs.http.remote_settings.max_concurrent_streams == 1_000
    for _ in range(900):
        theirs.ask(b"q")
    exchange(ours, theirs)
    assert len(ours.told) == 1_000
    block = hpack.Encoder().encode(FIELDS)
    ours.http.receive(HeadersFrame(9_001, block, flags=["END_HEADERS", "END_STREAM"]).serialize())
    assert ours.http.to_send() == RstStreamFrame(9_001, error_code=Code.REFUSED_STREAM).serialize()
    ours.http.reply(first[0], HEAD, b"r", TRAILERS)
    ours.http.receive(HeadersFrame(9_003, block, flags=["END_HEADERS", "END_STREAM"]).serialize())
    assert len(ours.told) == 1_001


def frames_in(data: bytes) -> list[Frame]:
    """Returns the frames of which some bytes consist."""
    found = []
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        found.append(frame)
        data = data[9 + length :]
    return found


def test_a_head_in_several_frames_with_padding_and_priority_is_read() -> None:
    ours = Ours()
    first = HeadersFrame(1, BLOCK[:3], flags=["PADDED", "PRIORITY", "END_STREAM"], pad_length=200, depends_on=0)
    middle, last = ContinuationFrame(1, BLOCK[3:4]), ContinuationFrame(1, BLOCK[4:], flags=["END_HEADERS"])
    ours.http.receive(raw(first, middle, last))
    body = DataFrame(3, b"padded", flags=["PADDED", "END_STREAM"], pad_length=7)
    ours.http.receive(HeadersFrame(3, BLOCK[:0] + hpack.Encoder().encode(FIELDS), flags=["END_HEADERS"]).serialize())
    ours.http.receive(body.serialize())
    assert ours.told == [(1, b"/limits", b""), (3, b"/limits", b"padded")]


def test_trailers_end_a_request() -> None:
    ours, theirs = met()
    theirs.http.send_headers(1, FIELDS)
    theirs.http.send_data(1, b"body")
    theirs.http.send_headers(1, [("x-end", "1")], end_stream=True)
    exchange(ours, theirs)
    assert ours.told == [(1, b"/limits", b"body")]


def test_what_nobody_needs_is_passed_over_and_a_ping_comes_back() -> None:
    ours = Ours()
    unknown = b"\x00\x00\x03\xee\x00\x00\x00\x00\x00abc"
    extra = [PriorityFrame(1, depends_on=0, stream_weight=7), GoAwayFrame(0), PingFrame(0, b"12345678")]
    ours.http.receive(raw(*extra, PingFrame(0, b"87654321", flags=["ACK"])) + unknown)
    answered = [frame for frame in frames_in(ours.http.to_send()) if isinstance(frame, PingFrame)]
    assert [(frame.opaque_data, set(frame.flags)) for frame in answered] == [(b"12345678", {"ACK"})]


def huge_head() -> bytes:
    return raw(HeadersFrame(1, b""), *(ContinuationFrame(1, b"\x00\x01x\x7f\x00" + b"y" * 16_000) for _ in range(5)))


def held_back() -> bytes:
    heads = [HeadersFrame(2 * n + 1, BLOCK if n == 0 else INDEXED, flags=["END_HEADERS"]) for n in range(400)]
    return raw(*heads, *(DataFrame(2 * n + 1, b"q" * 16_384) for n in range(400) for _ in range(3)))


def everything_at_once() -> bytes:
    return raw(*(HeadersFrame(2 * n + 1, BLOCK if n == 0 else INDEXED, flags=["END_HEADERS"]) for n in range(10_002)))


_SENDER = hpack.Encoder()
_SENDER.encode(FIELDS)
INDEXED = _SENDER.encode(FIELDS)


@pytest.mark.parametrize(
    ("sent", "code", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", Code.PROTOCOL_ERROR, "another preface"),
        (b"PRI * HTTP/3", Code.PROTOCOL_ERROR, "another preface"),
        (raw(PingFrame(0, b"12345678"), settings=False), Code.PROTOCOL_ERROR, "does not hold settings"),
        (raw(DataFrame(1, b"x")), Code.PROTOCOL_ERROR, "data came on stream 1 before its head"),
        (raw() + b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x", Code.PROTOCOL_ERROR, "data came on stream 0"),
        (raw(HeadersFrame(2, BLOCK, flags=WHOLE)), Code.PROTOCOL_ERROR, "stream 2, which is not a client's"),
        (raw() + b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", Code.FRAME_SIZE_ERROR, "a frame has 16385 bytes"),
        (raw(HeadersFrame(1, b"\xff\xff\xff", flags=WHOLE)), Code.COMPRESSION_ERROR, "cannot be read"),
        (raw(HeadersFrame(1, b"\x80", flags=WHOLE)), Code.COMPRESSION_ERROR, "cannot be read"),
        (raw(HeadersFrame(1, BLOCK), PingFrame(0, b"12345678")), Code.PROTOCOL_ERROR, "within a head"),
        (raw(HeadersFrame(1, BLOCK), ContinuationFrame(3, b"")), Code.PROTOCOL_ERROR, "within a head"),
        (raw(ContinuationFrame(1, BLOCK)), Code.PROTOCOL_ERROR, "did not begin"),
        (huge_head(), Code.ENHANCE_YOUR_CALM, "a head has more than"),
        (held_back(), Code.ENHANCE_YOUR_CALM, "requests that are not whole"),
        (raw() + b"\x00\x00\x02\x00\x08\x00\x00\x00\x01\x05x", Code.PROTOCOL_ERROR, "more padding than bytes"),
        (raw() + b"\x00\x00\x00\x00\x08\x00\x00\x00\x01", Code.PROTOCOL_ERROR, "more padding than bytes"),
        (raw() + b"\x00\x00\x02\x01\x24\x00\x00\x00\x01ab", Code.FRAME_SIZE_ERROR, "within its priority"),
        (raw() + b"\x00\x00\x07\x06\x00\x00\x00\x00\x00abcdefg", Code.FRAME_SIZE_ERROR, "cannot be read"),
        (raw() + b"\x00\x00\x05\x04\x00\x00\x00\x00\x00abcde", Code.FRAME_SIZE_ERROR, "cannot be read"),
        (raw() + b"\x00\x00\x00\x04\x00\x00\x00\x00\x01", Code.PROTOCOL_ERROR, "cannot be read"),
        (raw(SettingsFrame(0, {4: 2**31})), Code.FLOW_CONTROL_ERROR, "a window has 2147483648 bytes"),
        (raw(SettingsFrame(0, {2: 2})), Code.PROTOCOL_ERROR, "a setting"),
        (raw(SettingsFrame(0, {5: 16_383})), Code.PROTOCOL_ERROR, "a setting"),
        (raw(SettingsFrame(0, {5: 2**24})), Code.PROTOCOL_ERROR, "a setting"),
        (raw() + b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00", Code.PROTOCOL_ERROR, "cannot be read"),
        (raw(WindowUpdateFrame(0, 2**31 - 1)), Code.FLOW_CONTROL_ERROR, "the connection's window"),
        (raw(WindowUpdateFrame(1, 1)), Code.PROTOCOL_ERROR, "before its head"),
        (raw(RstStreamFrame(1)), Code.PROTOCOL_ERROR, "taken back before it began"),
        (raw(PushPromiseFrame(1, 2, BLOCK, flags=["END_HEADERS"])), Code.PROTOCOL_ERROR, "promises a push"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_breaks_the_rules_ends_the_connection_with_the_reason(sent: bytes, code: Code, why: str) -> None:
    ours = Ours()
    ours.http.to_send()
    with pytest.raises(BrokenError, match=why):
        ours.http.receive(sent)
    last = frames_in(ours.http.to_send())[-1]
    assert isinstance(last, GoAwayFrame)
    assert (last.error_code, why in last.additional_data.decode()) == (code, True)


def test_what_was_asked_before_the_rules_were_broken_is_not_answered_after_it() -> None:
    ours = Ours(echoes=False)
    with pytest.raises(BrokenError):
        ours.http.receive(raw(HeadersFrame(1, BLOCK, flags=WHOLE), ContinuationFrame(1, BLOCK)))
    ours.http.to_send()
    assert ours.http.is_idle
    ours.http.reply(1, HEAD, b"r", TRAILERS)
    assert ours.http.to_send() == b""


def test_the_bit_that_is_kept_for_later_says_nothing() -> None:
    ours = Ours()
    data = bytearray(HeadersFrame(1, BLOCK, flags=WHOLE).serialize())
    data[5] |= 0x80
    ours.http.receive(raw() + data)
    assert [stream for stream, _, _ in ours.told] == [1]


def without(name: str) -> list[tuple[str, str]]:
    return [pair for pair in FIELDS if pair[0] != name]


@pytest.mark.parametrize(
    "fields",
    [
        without(":path"),
        without(":method"),
        without(":scheme"),
        [*without(":path"), (":path", "")],
        [*FIELDS, (":path", "/again")],
        [(":method", "POST"), (":scheme", "http"), (":path", "/limits"), (":path", "/again")],
        [("te", "trailers"), *without("te")],
        [(":status", "200"), *FIELDS],
        [*FIELDS, ("Upper", "x")],
        [*FIELDS, ("", "x")],
        [*FIELDS, ("connection", "close")],
        [*FIELDS, ("transfer-encoding", "chunked")],
        [*without("te"), ("te", "gzip")],
        [],
    ],
)
def test_a_malformed_request_is_refused_and_no_other(fields: list[tuple[str, str]]) -> None:
    ours = Ours()
    sender = hpack.Encoder()
    ours.http.receive(raw(HeadersFrame(1, sender.encode(fields), flags=["END_HEADERS"])))
    ours.http.receive(HeadersFrame(3, sender.encode(FIELDS), flags=WHOLE).serialize())
    resets = [frame for frame in frames_in(ours.http.to_send()) if isinstance(frame, RstStreamFrame)]
    assert [(frame.stream_id, frame.error_code) for frame in resets] == [(1, Code.PROTOCOL_ERROR)]
    assert ours.told == [(3, b"/limits", b"")]


@pytest.mark.parametrize(
    ("late", "code"),
    [
        (DataFrame(1, b"more"), Code.STREAM_CLOSED),
        (HeadersFrame(1, INDEXED[:0], flags=WHOLE), Code.STREAM_CLOSED),
    ],
)
def test_what_comes_after_the_end_of_a_request_is_refused(late: Frame, code: Code) -> None:
    ours = Ours()
    ours.http.receive(raw(HeadersFrame(1, BLOCK, flags=WHOLE)))
    ours.http.to_send()
    ours.http.receive(late.serialize())
    assert ours.http.to_send() == RstStreamFrame(1, error_code=code).serialize()


@pytest.mark.parametrize("flags", [["END_HEADERS"], WHOLE], ids=["no end", "another request"])
def test_trailers_that_are_none_end_their_request_alone(flags: list[str]) -> None:
    ours = Ours()
    ours.http.receive(raw(HeadersFrame(1, BLOCK, flags=["END_HEADERS"]), HeadersFrame(1, INDEXED, flags=flags)))
    assert RstStreamFrame(1, error_code=Code.PROTOCOL_ERROR).serialize() in ours.http.to_send()
    assert ours.told == []


def test_a_window_of_one_stream_that_grows_too_large_ends_that_stream() -> None:
    ours = Ours(echoes=False)
    ours.http.receive(raw(HeadersFrame(1, BLOCK, flags=WHOLE), WindowUpdateFrame(1, 2**31 - 1)))
    assert ours.http.to_send().endswith(RstStreamFrame(1, error_code=Code.FLOW_CONTROL_ERROR).serialize())
    assert ours.http.is_idle


def test_before_the_limit_is_known_ten_times_as_many_may_be_under_way() -> None:
    ours = Ours()
    ours.http.receive(everything_at_once())
    resets = [frame for frame in frames_in(ours.http.to_send()) if isinstance(frame, RstStreamFrame)]
    assert [(frame.stream_id, frame.error_code) for frame in resets] == [
        (20_001, Code.REFUSED_STREAM),
        (20_003, Code.REFUSED_STREAM),
    ]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A conversation, some bytes of which are others than were sent."""
    theirs = Theirs()
    for size in draw(st.lists(st.integers(0, 300), max_size=4)):
        theirs.ask(b"q" * size)
    theirs.http.ping(b"12345678")
    data = bytearray(bytes(theirs.http.data_to_send()))
    for _ in range(draw(st.integers(0, 6))):
        data[draw(st.integers(24, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data) + draw(st.binary(max_size=40))


@given(damaged())
def test_no_bytes_cause_another_error(data: bytes) -> None:
    ours = Ours()
    try:
        ours.http.receive(data)
    except BrokenError:
        assert isinstance(frames_in(ours.http.to_send())[-1], GoAwayFrame)
