"""Runs the trajectory service: `python -m trajectory`."""

from meshkit.postgres import Postgres
from meshkit.serve import run, serve
from trajectory.repository import PositionRepository
from trajectory.servicer import TrajectoryServicer
from trajectory.settings import Settings
from trajectory.trajectories import Trajectories


async def main() -> None:
    """Wires the service together."""
    settings = Settings.load()
    database = Postgres(settings)
    trajectories = Trajectories(PositionRepository(database), max_track_positions=settings.max_track_positions)
    servicer = TrajectoryServicer(trajectories, clock_skew_seconds=settings.clock_skew_seconds)
    await serve(settings, servicers=[servicer], dependencies=[database])


if __name__ == "__main__":
    run(main)
