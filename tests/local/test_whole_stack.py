"""What `make up` promises, on the whole mesh with the real data."""

import time

import psutil

from geomesh_local import examples
from geomesh_local.readiness import health_of_all
from geomesh_local.status import rows
from geomesh_local.up import up
from tests.running_mesh import Mesh

MEBIBYTE = 1024 * 1024


def pids(mesh: Mesh) -> dict[str, int]:
    return {name: state.pid for name, state in mesh.stack.supervisor.states().items()}


def test_every_example_is_answered_whole(mesh: Mesh) -> None:
    answers = list(examples.answers(mesh.stack))
    assert len(answers) == len(examples.EXAMPLES) + 1  # signing in comes first
    incomplete = [each for each in answers if f"{examples.MISSING} " in each.gist]
    assert not incomplete


async def test_a_second_up_takes_seconds_and_restarts_nothing(mesh: Mesh) -> None:
    before = pids(mesh)
    start = time.monotonic()
    await up(mesh.stack)
    assert time.monotonic() - start <= 15
    assert pids(mesh) == before


async def test_what_crashes_is_started_again(mesh: Mesh) -> None:
    before = pids(mesh)["auth-0"]
    mesh.kill("auth-0")
    psutil.Process(before).wait(10) if psutil.pid_exists(before) else None
    await mesh.wait_until_well()
    assert pids(mesh)["auth-0"] not in {0, before}


async def test_without_redis_the_mesh_is_degraded_and_not_down(mesh: Mesh) -> None:
    mesh.stop("redis")
    await mesh.wait_until_well()  # which takes degraded for well
    healths = await health_of_all(mesh.stack)
    assert "down" not in {health.state for health in healths.values()}


async def test_the_status_shows_every_program(mesh: Mesh) -> None:
    programs = {row.name: row for row in await rows(mesh.stack)}
    assert set(programs) == set(pids(mesh))
    assert {row.state for row in programs.values()} == {"RUNNING"}
    assert all(row.pid and row.port and row.memory_bytes > MEBIBYTE for row in programs.values())
    assert (
        sum(row.memory_bytes for row in programs.values()) < 3 * 1024 * MEBIBYTE
    )  # two replicas; one is measured by bench
