"""The subscriptions of one process, found by where a station stands: what an event costs grows with those it is for."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import h3  # type: ignore[import-untyped]  # ships no types

from airquality.events import StoredReading
from airquality.live.areas import Named, cell_of
from airquality.live.subscription import Subscription
from meshkit.identity import PUBLIC_TENANT

_Group = dict[Subscription, None]
_STATION: Final = "station"


class Subscriptions:
    """An index of subscriptions by H3 cells and by stations.

    A reading of a tenant is looked up among that tenant's subscriptions, a public one among all.
    """

    def __init__(self) -> None:
        self._all: dict[Subscription, list[tuple[str, ...]]] = {}
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._resolutions: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(tuple(self._all))

    def add(self, subscription: Subscription) -> None:
        """Adds one."""
        keys = self._all[subscription] = _keys(subscription)
        for key in keys:
            self._groups.setdefault(key, {})[subscription] = None
        self._resolutions.update(_resolutions(keys))

    def remove(self, subscription: Subscription) -> None:
        """Removes one, if it is there."""
        keys = self._all.pop(subscription, [])
        for key in keys:
            group = self._groups[key]
            del group[subscription]
            if not group:
                del self._groups[key]
        for each in _resolutions(keys):
            self._resolutions[each] -= 1
            if self._resolutions[each] <= 0:
                del self._resolutions[each]

    def near(self, reading: StoredReading) -> Iterator[Subscription]:
        """Yields, each once, the subscriptions that may want a reading of this station."""
        tenant = reading.tenant
        yield from self._groups.get((tenant, reading.station_id, _STATION), ())
        # An area is covered with cells of different sizes only if it was given so, and of those at most one is new.
        seen: set[Subscription] = set()
        for resolution in self._resolutions:
            cell = cell_of(reading.lat, reading.lng, resolution)
            for each in self._groups.get((cell,) if tenant == PUBLIC_TENANT else (cell, tenant), ()):
                if each not in seen:
                    seen.add(each)
                    yield each


def _keys(subscription: Subscription) -> list[tuple[str, ...]]:
    wanted = subscription.wanted
    if isinstance(wanted.area, Named):
        return [(tenant, station_id, _STATION) for tenant, station_id in wanted.area.stations]
    cells = wanted.area.cells()
    own = [] if wanted.tenant == PUBLIC_TENANT else [(cell, wanted.tenant) for cell in cells]
    return [*((cell,) for cell in cells), *own]


def _resolutions(keys: Iterable[tuple[str, ...]]) -> set[int]:
    return {h3.get_resolution(key[0]) for key in keys if key[-1] != _STATION}
