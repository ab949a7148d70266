"""What is flagged, and what sensors say for their stations."""

import numpy as np
import pytest

from airquality.averages import Floats
from airquality.quality import LIMITS, PAST_HOURS, Flag, check, corrected_purpleair, humid
from airquality.units import MEASURABLE, AveragingPeriod, Pollutant
from geomesh.airquality.v1 import airquality_pb2 as pb
from tests.airquality.conftest import NO2, O3, PM10, PM25, As, Caller, reading, station
from tests.refusals import told

HUMIDITY = 13
NONE: list[float] = []
OUT = Flag.RANGE | Flag.EXCLUDED


def flags(
    value: float,
    past: list[float] = NONE,
    around: list[float] = NONE,
    pollutant: int = PM25,
    period: int = 1,
    around_before: list[float] | None = None,
) -> Flag:
    """Returns the flags of one reading, from the hours before it, the newest first, and from its neighbours."""
    before: Floats = np.full((1, PAST_HOURS), np.nan)
    before[0, : len(past)] = past
    earlier = None if around_before is None else np.array([around_before])
    found = check(np.array([pollutant]), np.array([period]), np.array([value]), before, np.array([around]), earlier)
    return Flag(int(found[0]))


def test_the_plausible_lies_within_what_can_be_measured() -> None:
    assert set(LIMITS) == set(Pollutant)
    for pollutant, limits in LIMITS.items():
        assert MEASURABLE[pollutant][0] <= limits.lowest < limits.highest <= MEASURABLE[pollutant][1]


@pytest.mark.parametrize(("value", "expected"), [(-10.0, 0), (-10.1, OUT), (1000.0, 0), (1000.1, OUT)])
def test_a_value_beyond_the_plausible_is_flagged_and_excluded(value: float, expected: int) -> None:
    assert flags(value) == expected


@pytest.mark.parametrize(
    ("value", "past", "expected"),
    [
        (130.0, [10.0, 10.0, 10.0], 0),
        (130.1, [10.0, 10.0, 10.0], Flag.SPIKE | Flag.EXCLUDED),
        (400.0, [100.0, 10.0, 250.0], 0),  # smoke that has come already
        (500.0, [10.0], 0),  # one hour is no ground to judge on
        (0.0, [400.0, 400.0, 400.0], 0),  # smoke that goes is no spike
    ],
)
def test_a_sudden_rise_is_flagged(value: float, past: list[float], expected: int) -> None:
    assert flags(value, past) == expected


@pytest.mark.parametrize(
    ("value", "past", "expected"),
    [
        (7.1, [7.1] * 7, Flag.FLAT_LINE),
        (7.1, [7.1] * 6, 0),
        (7.1, [*[7.1] * 6, 7.2], 0),
        (2.0, [2.0] * 7, 0),  # at the limit of detection values repeat
    ],
)
def test_eight_equal_hours_are_flagged(value: float, past: list[float], expected: int) -> None:
    assert flags(value, past) == expected


@pytest.mark.parametrize(
    ("value", "around", "expected"),
    [
        (82.0, [10.0, 12.0, 8.0], Flag.NEIGHBOURS),
        (65.0, [10.0, 12.0, 8.0], 0),
        (200.0, [10.0, 12.0, np.nan], 0),  # two are not enough
        (200.0, [10.0, 150.0, 300.0, 80.0], 0),  # they do not agree with each other either
    ],
)
def test_disagreement_with_neighbours_is_flagged(value: float, around: list[float], expected: int) -> None:
    assert flags(value, around=around) == expected


CLEAN = [10.0, 10.0, 10.0]


@pytest.mark.parametrize(
    ("past", "around", "around_before", "counts"),
    [
        (CLEAN, [], [], False),  # nobody else can tell
        (CLEAN, [12.0], [], False),
        (CLEAN, [205.0, 8.0, 9.0], [], True),  # half the rise from 10 to 400, where three do not have it
        (CLEAN, [204.9, 8.0, 9.0], [], False),
        (CLEAN, [12.0, 8.0], [300.0, np.nan], True),  # it comes from there
        ([300.0, 10.0, 10.0], [], [], True),  # it has been here for two hours
        ([300.0, 10.0, 10.0], [8.0, 9.0, 10.0], [], False),  # and none of three around has it
        ([300.0, 10.0, 10.0], [8.0, 9.0], [], True),  # two are no majority
        ([50.0, 10.0, 10.0], [], [], False),
    ],
)
def test_a_sudden_rise_counts_as_soon_as_something_else_shows_it(
    past: list[float],
    around: list[float],
    around_before: list[float],
    counts: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    found = flags(400.0, past, around, around_before=around_before)
    assert Flag.SPIKE in found
    assert (Flag.EXCLUDED not in found) == counts


@pytest.mark.parametrize(
    ("value", "around", "counts"),
    [(2500.0, [1250.0], True), (2500.0, [1249.0, np.nan], False), (2500.0, [], False), (-12.0, [-5.0, 3.0], False)],
)
def test_dust_beyond_the_plausible_counts_where_a_neighbour_has_it_too(
    value: float,
    around: list[float],
    counts: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    found = flags(value, around=around)
    assert Flag.RANGE in found
    assert (Flag.EXCLUDED not in found) == counts


def test_a_flat_line_is_excluded_where_its_neighbours_contradict_it() -> None:
    assert flags(5.0, [5.0] * 7, [200.0, 210.0, 190.0]) == Flag.FLAT_LINE | Flag.NEIGHBOURS | Flag.EXCLUDED
    assert flags(5.0, [5.0] * 7, [8.0, 7.0, 6.0]) == Flag.FLAT_LINE


def test_weather_beyond_the_plausible_never_counts() -> None:
    assert Flag.EXCLUDED in flags(60.0, around=[40.0] * 6, pollutant=Pollutant.TEMPERATURE)


def test_disagreement_with_neighbours_alone_excludes_nothing() -> None:
    assert flags(500.0, [480.0, 470.0, 460.0], [8.0, 9.0, 10.0, 11.0]) == Flag.NEIGHBOURS


def test_only_hours_are_compared_with_hours() -> None:
    assert flags(900.0, [1.0] * 7, [1.0] * 6, period=AveragingPeriod.NOWCAST) == 0
    assert flags(1100.0, [1.0] * 7, period=AveragingPeriod.TWENTY_FOUR_HOURS) == OUT


def test_particles_in_humid_air_are_flagged_and_gases_not() -> None:
    assert humid(np.array([PM25, PM10, O3, PM25]), np.array([85.1, 90.0, 99.0, 85.0])).tolist() == [16, 16, 0, 0]


def test_the_purpleair_correction_is_the_published_one() -> None:
    # Barkjohn et al. 2021, equation 11: 0.524 * 50 - 0.0862 * 40 + 5.75
    assert corrected_purpleair(np.array([50.0]), np.array([40.0])) == pytest.approx(28.502)


def sensor_station() -> pb.Station:
    """Returns a station with a corrected low-cost sensor and a monitor of NO2."""
    purple = pb.Sensor(
        sensor_id="purple",
        model="PurpleAir PA-II",
        pollutants=[pb.POLLUTANT_PM25, pb.POLLUTANT_HUMIDITY],
        low_cost=True,
        correction=pb.SENSOR_CORRECTION_PURPLEAIR_US,
    )
    return station(sensors=[purple, pb.Sensor(sensor_id="spare", pollutants=[pb.POLLUTANT_PM25, pb.POLLUTANT_NO2])])


async def test_a_station_speaks_with_its_first_sensor_and_keeps_all(acme: Caller) -> None:
    await acme.register(sensor_station())
    assert [
        each.sensor_id for each in (await acme.call("GetStation", pb.GetStationRequest(station_id="here"))).sensors
    ] == [
        "purple",
        "spare",
    ]
    reply = await acme.ingest(
        reading(0, 50.0, sensor_id="purple"),
        reading(0, 40.0, pollutant=HUMIDITY, sensor_id="purple"),
        reading(0, 29.0, sensor_id="spare"),
        reading(0, 12.0, pollutant=NO2, sensor_id="spare"),
    )
    assert (reply.accepted_count, reply.changed_count, reply.rejected_count) == (4, 4, 0)
    spoken = {each.pollutant: each.value for each in (await acme.readings(station_id="here")).readings}
    assert spoken == {PM25: pytest.approx(28.502), HUMIDITY: 40.0, NO2: 12.0}
    for sensor, value in (("purple", 50.0), ("spare", 29.0)):
        (own,) = (await acme.readings(station_id="here", sensor_id=sensor, pollutant=PM25)).readings
        assert (own.value, own.sensor_id) == (value, sensor)


async def test_humidity_that_comes_late_corrects_what_was_there(acme: Caller) -> None:
    await acme.register(sensor_station())
    await acme.ingest(reading(0, 50.0, sensor_id="purple"))
    (before,) = (await acme.readings(station_id="here")).readings
    assert (before.value, list(before.flags)) == (50.0, [pb.QUALITY_FLAG_UNCORRECTED])
    await acme.ingest(reading(0, 40.0, pollutant=HUMIDITY, sensor_id="purple"))
    (after,) = (await acme.readings(station_id="here", pollutant=PM25)).readings
    assert after.value == pytest.approx(28.502)
    assert not after.flags
    reply = await acme.call("ListCorrections", pb.ListCorrectionsRequest(station_id="here"))
    assert [each.replaced.value for each in reply.corrections] == [50.0]


async def test_what_a_low_cost_sensor_sees_in_humid_air_is_flagged(acme: Caller) -> None:
    await acme.register(sensor_station())
    await acme.ingest(reading(0, 50.0, sensor_id="purple"), reading(0, 95.0, pollutant=HUMIDITY, sensor_id="purple"))
    (own,) = (await acme.readings(station_id="here", sensor_id="purple", pollutant=PM25)).readings
    assert list(own.flags) == [pb.QUALITY_FLAG_HUMIDITY]


async def test_refuses_a_sensor_that_is_not_there(acme: Caller) -> None:
    await acme.register(sensor_station())
    reply = await acme.ingest(reading(sensor_id="other"), reading(sensor_id="purple"))
    assert (reply.accepted_count, [told(each.status)[0] for each in reply.errors]) == (1, ["STATION_NOT_FOUND"])


async def test_refuses_sensors_that_make_no_sense(acme: Caller) -> None:
    twice = station(sensors=[pb.Sensor(sensor_id="a", pollutants=[pb.POLLUTANT_PM25])] * 2)
    dry = pb.Sensor(sensor_id="a", pollutants=[pb.POLLUTANT_PM25], correction=pb.SENSOR_CORRECTION_PURPLEAIR_US)
    reply = await acme.register(twice, station(sensors=[dry]), station(sensors=[pb.Sensor(sensor_id="a")]))
    assert [told(each.status)[1] for each in reply.errors] == [
        ["sensors[1].sensor_id"],
        ["sensors[0].correction"],
        ["sensors[0].pollutants"],
    ]


async def test_neighbours_are_those_the_tenant_may_see(as_tenant: As) -> None:
    acme, other = as_tenant("acme"), as_tenant("other")
    for caller, value in ((acme, 10.0), (other, 500.0)):
        await caller.register(*[station(f"s{number}", lat=40.0 + number / 100) for number in range(4)])
        await caller.ingest(*[reading(value=value, station_id=f"s{number}") for number in range(1, 4)])
        await caller.ingest(reading(value=90.0, station_id="s0"))
        (found,) = (await caller.readings(station_id="s0")).readings
        assert list(found.flags) == [pb.QUALITY_FLAG_NEIGHBOURS]


async def test_stations_in_one_place_are_judged_by_each_other(acme: Caller) -> None:
    await acme.register(*[station(f"s{number}") for number in range(10)])
    reply = await acme.ingest(*[reading(value=10.0, station_id=f"s{number}") for number in range(10)])
    assert reply.changed_count == 10
    await acme.ingest(reading(value=200.0, station_id="s0"))
    (found,) = (await acme.readings(station_id="s0")).readings
    assert list(found.flags) == [pb.QUALITY_FLAG_NEIGHBOURS]


async def test_refuses_to_move_a_station_that_has_measured(acme: Caller) -> None:
    await acme.register(station("still"), station("gone"))
    await acme.ingest(reading(station_id="gone"))
    reply = await acme.register(station("still", lat=41.0), station("gone", lat=41.0))
    assert (reply.accepted_count, [(each.index, *told(each.status)[:2]) for each in reply.errors]) == (
        1,
        [(1, "INVALID_FIELD", ["location"])],
    )
    found = await acme.call("GetStation", pb.GetStationRequest(station_id="gone"))
    assert found.location.lat == 40.0
