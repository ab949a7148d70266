"""What is watched: which stations lie in it, and which H3 cells cover it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import h3  # type: ignore[import-untyped]  # ships no types

from airquality.stations import latitudes_around

Box = tuple[float, float, float, float]
"""West, east, south and north in degrees; west is greater than east over the antimeridian."""

_EARTH_METERS: Final = 6_371_008.8
"""Mean radius of the Earth: distances are great circles on a sphere, within 0.6 % of those on the ellipsoid."""
_POLE: Final = 90.0
_FINEST: Final = 8
"""Resolution of the smallest cells that circles are covered with, of 0.5 km: no circle is much smaller than a town."""
_STRETCH: Final = 1.6
"""From the mean length of an edge to more than the largest distance of a corner from its cell's centre, which a test
holds against cells all over the Earth."""


@dataclass(frozen=True, slots=True)
class Circle:
    """All within a distance of a point; lat and lng in degrees."""

    lat: float
    lng: float
    radius_meters: float

    def holds(self, tenant: str, station_id: str, lat: float, lng: float) -> bool:
        """Tells whether a station lies in it."""
        del tenant, station_id
        return meters_between(self.lat, self.lng, lat, lng) <= self.radius_meters

    def box(self) -> Box:
        """Returns a box around it."""
        south, north = latitudes_around(self.lat, self.radius_meters * 1.01)
        if south <= -_POLE or north >= _POLE:
            return (-180.0, 180.0, south, north)
        # Widest where a meridian touches the circle, which is nearer to the pole than its centre.
        reach = math.sin(min(self.radius_meters * 1.01 / _EARTH_METERS, math.pi / 2)) / math.cos(math.radians(self.lat))
        if reach >= 1.0:
            return (-180.0, 180.0, south, north)
        degrees = math.degrees(math.asin(reach))
        return (_wrapped(self.lng - degrees), _wrapped(self.lng + degrees), south, north)

    def cells(self) -> list[str]:
        """Returns H3 cells of one resolution, some dozen at most, that cover it."""
        resolution = _FINEST
        while resolution > 0 and h3.average_hexagon_edge_length(resolution, unit="m") < self.radius_meters / 2:
            resolution -= 1
        edge_meters = h3.average_hexagon_edge_length(resolution, unit="m")
        if resolution == 0:
            disk: Iterable[str] = h3.get_res0_cells()
        else:
            # A ring of cells is at least half of a mean edge wide, also where they are small and askew.
            rings = math.ceil((self.radius_meters + _STRETCH * edge_meters) / (edge_meters / 2))
            disk = h3.grid_disk(h3.latlng_to_cell(self.lat, self.lng, resolution), rings)
        reach = self.radius_meters + _STRETCH * edge_meters
        return [each for each in disk if meters_between(self.lat, self.lng, *h3.cell_to_latlng(each)) <= reach]


@dataclass(frozen=True, slots=True)
class Rectangle:
    """All in a box."""

    bounds: Box

    def holds(self, tenant: str, station_id: str, lat: float, lng: float) -> bool:
        """Tells whether a station lies in it."""
        del tenant, station_id
        west, east, south, north = self.bounds
        if not south <= lat <= north:
            return False
        return west <= lng <= east if west <= east else lng >= west or lng <= east

    def box(self) -> Box:
        """Returns itself."""
        return self.bounds

    def cells(self) -> list[str]:
        """Returns H3 cells that cover the circle through its farthest corners."""
        west, east, south, north = self.bounds
        width = (east - west) % 360.0 if east != west + 360.0 else 360.0
        lat, lng = (south + north) / 2, _wrapped(west + width / 2)
        # The farthest point may lie in the middle of a side, where the box is wider than half the Earth.
        corners = [(south, west), (north, west), (south, east), (north, east)]
        sides = [(side, _wrapped(west + width * part / 8)) for side in (south, north, 0.0) for part in range(9)]
        points = [(a, b) for a, b in (*corners, *sides) if south <= a <= north]
        farthest = max(meters_between(lat, lng, *point) for point in points)
        largest = math.pi * _EARTH_METERS
        return Circle(lat, lng, min(farthest * 1.2, largest) if width <= 180.0 else largest).cells()  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Cells:
    """All in some H3 cells."""

    names: frozenset[str]

    def holds(self, tenant: str, station_id: str, lat: float, lng: float) -> bool:
        """Tells whether a station lies in it."""
        del tenant, station_id
        return any(cell_of(lat, lng, each) in self.names for each in {h3.get_resolution(name) for name in self.names})

    def box(self) -> Box:
        """Returns a box around it: of all longitudes, because a cell may hold a pole."""
        boundaries = [lat for name in self.names for lat, _ in h3.cell_to_boundary(name)]
        reach = math.degrees(
            2 * h3.average_hexagon_edge_length(min(map(h3.get_resolution, self.names)), unit="m") / _EARTH_METERS
        )
        return (-180.0, 180.0, max(-90.0, min(boundaries) - reach), min(90.0, max(boundaries) + reach))

    def cells(self) -> list[str]:
        """Returns itself."""
        return sorted(self.names)


@dataclass(frozen=True, slots=True)
class Named:
    """Some stations by tenant and id."""

    stations: frozenset[tuple[str, str]]

    def holds(self, tenant: str, station_id: str, lat: float, lng: float) -> bool:
        """Tells whether a station is one of them."""
        del lat, lng
        return (tenant, station_id) in self.stations


Area = Circle | Rectangle | Cells | Named


@lru_cache(maxsize=200_000)
def cell_of(lat: float, lng: float, resolution: int) -> str:
    """Returns the H3 cell of a point; remembered, because stations stay where they are."""
    cell: str = h3.latlng_to_cell(lat, lng, resolution)
    return cell


def meters_between(lat: float, lng: float, other_lat: float, other_lng: float) -> float:
    """Returns the length of the great circle between two points in metres, by the haversine formula."""
    half_lat, half_lng = math.radians(other_lat - lat) / 2, math.radians(other_lng - lng) / 2
    chord = (
        math.sin(half_lat) ** 2
        + math.cos(math.radians(lat)) * math.cos(math.radians(other_lat)) * math.sin(half_lng) ** 2
    )
    return 2 * _EARTH_METERS * math.asin(min(1.0, math.sqrt(chord)))


def _wrapped(lng: float) -> float:
    return (lng + 180.0) % 360.0 - 180.0
