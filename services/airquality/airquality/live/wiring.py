"""Puts the parts of watching together."""

from collections.abc import Sequence
from functools import partial

from airquality.convert import watching as convert
from airquality.live.hub import Hub
from airquality.live.outbox import Outbox, leading
from airquality.live.relay import Relay
from airquality.live.snapshots import Snapshots
from airquality.live.stream import Events, Stream
from airquality.live.watching import Watching
from airquality.settings import Settings
from meshkit.health import Dependency
from meshkit.postgres import Postgres


class Live:
    """What a process needs to relay events and to answer subscribers.

    Attributes:
        events: Where others may follow the events; an airquality.events.EventSource.
        watching: Answers subscribers.
        dependencies: What must run meanwhile, in this order.
    """

    def __init__(self, settings: Settings, database: Postgres) -> None:
        """Starts nothing yet."""
        url, outbox = settings.redis_url.get_secret_value(), Outbox(database)
        stream = Stream(url, most_entries=settings.event_stream_entries)
        self.events = Events(stream, outbox)
        hub = Hub(
            self.events,
            outbox,
            convert.render_stored,
            most=settings.watch_subscriptions,
            waiting_updates=settings.watch_waiting_updates,
            heartbeat_seconds=settings.watch_heartbeat_seconds,
            stall_seconds=settings.watch_stall_seconds,
        )
        lead = partial(leading, settings.postgres_dsn.get_secret_value())
        relay = Relay(lead, stream, keep_seconds=settings.event_keep_seconds)
        self.watching = Watching(
            hub, Snapshots(database), convert.render_snapshot, most_stations=settings.watch_stations
        )
        self.dependencies: Sequence[Dependency] = (relay, hub)
