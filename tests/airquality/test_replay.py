from itertools import islice

from airquality.load import read_sites
from airquality.replay import hours_of, stations_of
from meshkit.settings import CHECKOUT

DATA = CHECKOUT / "data"


def test_the_sample_comes_hour_by_hour_and_both_pollutants_together() -> None:
    hours = list(hours_of(DATA))
    assert len(hours) == 228
    assert {each.pollutant for each in hours[0]} == {1, 3}
    assert all(len({(each.station_id, each.pollutant) for each in hour}) == len(hour) for hour in hours)


def test_every_station_says_that_it_is_a_replay() -> None:
    stations = stations_of(read_sites(DATA))
    assert all(each.station_id.startswith("replay-airnow-") for each in stations)
    assert all(each.provider == "replay" and each.name.endswith("(replay)") for each in stations)
    known = {each.station_id for each in stations}
    assert all(each.station_id in known for hour in islice(hours_of(DATA), 24) for each in hour)
