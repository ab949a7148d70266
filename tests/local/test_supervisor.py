"""What a program is told reaches it as it was meant."""

import time
from pathlib import Path

import pytest

from geomesh_local.errors import StackError
from geomesh_local.supervisor import Program, Supervisor

VALUES = {
    "LIST": '["edge", "it"]',
    "WORDS": "it's a, b=c; 100 %(here)s#1",
    "SLASHES": r"C:\new\table",
    "EMPTY": "",
}


def test_values_with_quotes_and_marks_reach_the_program_unchanged(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f'for each in LIST WORDS SLASHES EMPTY; do printenv "$each"; done >{out}.new; mv {out}.new {out}; sleep 60'
    supervisor = Supervisor(tmp_path / "run")
    (tmp_path / "run").mkdir()
    supervisor.apply([Program("printer", ["sh", "-c", script], tmp_path, VALUES)])
    try:
        supervisor.start(["printer"])
        deadline = time.monotonic() + 10
        while not out.exists():
            assert time.monotonic() < deadline, supervisor.log("printer").read_text()
            time.sleep(0.02)
    finally:
        supervisor.shut_down()
    assert out.read_text().splitlines() == list(VALUES.values())


@pytest.mark.parametrize(
    "value", ["\"both\" and 'both'", "'at its ends'", "two\nlines", "some # comment", "some ; comment"]
)
def test_a_value_that_cannot_be_handed_on_is_refused_by_name(tmp_path: Path, value: str) -> None:
    with pytest.raises(StackError, match="GEOMESH_GEOCODER_NAME"):
        Supervisor(tmp_path).apply([Program("printer", ["true"], tmp_path, {"GEOMESH_GEOCODER_NAME": value})])
