"""Settings: from the environment and from files, and what a bad one says."""

from pathlib import Path

import pytest
from pydantic import Field

from meshkit.settings import ServiceSettings


class Settings(ServiceSettings, service="made-up"):
    """The settings of a service that exists only here."""

    reach_meters: float = Field(5.0, ge=0, description="How far in metres.")


def test_a_variable_is_the_prefix_and_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOMESH_MADE_UP_REACH_METERS", "7.5")
    monkeypatch.setenv("GEOMESH_MADE_UP_PORT", "18100")
    settings = Settings.load()
    assert (settings.reach_meters, settings.port) == (7.5, 18100)


def test_a_secret_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("postgresql://a:b@c/d\n")
    monkeypatch.setenv("GEOMESH_MADE_UP_POSTGRES_DSN_FILE", str(tmp_path / "dsn"))
    settings = Settings.load()
    assert settings.postgres_dsn.get_secret_value() == "postgresql://a:b@c/d"
    assert "a:b" not in repr(settings)


def test_a_missing_file_stops_the_start_with_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEOMESH_MADE_UP_POSTGRES_DSN_FILE", str(tmp_path / "nothing"))
    with pytest.raises(SystemExit, match=r"made-up cannot start: GEOMESH_MADE_UP_POSTGRES_DSN_FILE: .*nothing"):
        Settings.load()


@pytest.mark.parametrize("value", ["-1", "inf", "nan", "far", ""])
@pytest.mark.parametrize("name", ["REACH_METERS", "DRAIN_SECONDS"])
def test_a_bad_value_stops_the_start_with_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"GEOMESH_MADE_UP_{name}", value)
    with pytest.raises(SystemExit, match=f"^made-up cannot start: GEOMESH_MADE_UP_{name}: Input should be [^\\n]*$"):
        Settings.load()
