"""`make bench`: measures everything, prints the table and writes docs/benchmarks.md; `python -m bench NAME…` some of it."""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

from bench import (
    accounts,
    air,
    anywhere,
    auth,
    edge,
    entities,
    footprint,
    forecasting,
    geocoding,
    indices,
    limits,
    memory,
    profile,
    report,
    tls,
    watch,
)
from bench.load import binary
from bench.mesh import Mesh, mesh, settle

GHZ = "github.com/bojand/ghz/cmd/ghz@v0.121.0"

ONE_REPLICA: dict[str, Callable[[Mesh], Iterator[report.Row]]] = {
    "memory": footprint.memory,
    "path": edge.request_path,
    "rest": partial(edge.rest, replicas=1, at_least=0.60),
    "tls": tls.rest,
    "limits": limits.rows,
    "conditions": air.conditions,
    "present": anywhere.present,
    "tiles": anywhere.tiles,
    "geocoding": geocoding.rows,
    "entities": entities.rows,
    "ingest": air.ingest,
    "history": memory.history,
    "watch": watch.delivering,
}
TWO_REPLICAS: dict[str, Callable[[Mesh], Iterator[report.Row]]] = {
    "rest-2": partial(edge.rest, replicas=2, at_least=0.75)
}
ALONE: dict[str, Callable[[], Iterator[report.Row]]] = {
    "load": footprint.gazetteer_load,
    "second-up": footprint.second_up,
    "tokens": auth.verification,
    "accounts": accounts.rows,
    "indices": indices.rows,
    "watch-matching": watch.matching,
    "forecasts": forecasting.rows,
}

PROFILE = "profile"
NOTES = """
Load: where every call is the same, h2load, which costs the least (gRPC: 32 streams on four HTTP/2 connections; REST: 32
HTTP/1.1 connections); where they differ, ghz, with 32 calls in flight on four connections. Every measured call carries a token, which is
verified, and a trace that is not sampled; metrics are on. Run again with `make bench`, or one group with
`.venv/bin/python -m bench path`.

The hop to the limits service is asked by a hundred clients of h2load that begin a millisecond after one another: a single one
sends what is due every 10 ms at once, and in such bursts of ten its p99 is 6 ms, and 4 that of the bare echo.

## What falls short on two cores, and why

The load generator, Envoy, the services, Postgres and Redis share two cores here, whose speed was seen to change by two
fifths within a second. Rows near their target are kept in one run and missed in the next.

- **REST with the token check and limits**: 0.55 in one run, in which the bare echo's own p99 was 3.9 ms, and 0.61, 0.62 and 0.63
  in three after it, with the hop's p99 at 2.1 to 2.5 ms. The ratio was 0.63 to 0.67 before the services became faster: REST
  without limits gained more by that than REST with them.
- **GetCurrentConditions now, random points**: 0.28 to 0.32. It was 0.41 when the bare echo was started in the load generator's
  session, where it had to share its time with ghz; now both are started alike.
- **REST with two replicas**: a second process has no core of its own.
- **IngestReadings against COPY**: 0.30 and 60,000 a second were set for rows alone. Each reading now passes quality control,
  rollups, and the outbox of events in the same transaction, for which 30,000 is set; COPY of the bare rows does none of it.

## Where the time of EncodeLocation goes

{profile}

The steps of the request path take 6 µs and the handler 4 µs when they are called in a loop by themselves. Between the
calls of gRPC they take four times as long, because each finds the processor's caches full of the other's code and data.
Before a glance spared most requests the way through protovalidate, that one call was two fifths of it. The answering thread bounds
both servers, and the ratio is 0.83 to 0.93 from run to run; with a Python compiled without optimization it is less.

## Where the time of FindNearby goes

{nearby}
"""


def main() -> None:
    """Measures what is named, or everything."""
    everything = [*ALONE, *ONE_REPLICA, *TWO_REPLICAS, PROFILE]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *everything], help=", ".join(everything))
    wanted = parser.parse_args().names
    _install_generators()
    rows = list(_measured(set(wanted or everything)))
    report.show(rows)
    if not wanted or PROFILE in wanted:
        with mesh() as running:
            settle()
            shares = profile.request_path(running)
            nearby = profile.find_nearby(running)
        print(shares, nearby, sep="\n\n")
        if not wanted:
            report.write(rows, NOTES.format(profile=shares, nearby=nearby))
    sys.exit(0 if all(row.met for row in rows) else 1)


def _measured(wanted: set[str]) -> Iterator[report.Row]:
    for name, measure in ALONE.items():
        if name in wanted:
            yield from _said(measure())
    for replicas, group in ((1, ONE_REPLICA), (2, TWO_REPLICAS)):
        if wanted & set(group):
            with mesh(replicas) as running:
                settle()
                for name, measure_mesh in group.items():
                    if name in wanted:
                        yield from _said(measure_mesh(running))


def _said(rows: Iterator[report.Row]) -> Iterator[report.Row]:
    for row in rows:
        print(f"  {row.name}: {row.figure} (target {row.target})", flush=True)
        yield row


def _install_generators() -> None:
    try:
        binary("ghz")
    except AssertionError:
        if shutil.which("go") is None:
            sys.exit("ghz makes the load and is built with Go; install Go 1.21 or later")
        subprocess.run(["go", "install", GHZ], check=True)
    try:
        binary("h2load")
    except AssertionError:
        subprocess.run(["apt-get", "install", "-y", "-qq", "nghttp2-client"], check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
