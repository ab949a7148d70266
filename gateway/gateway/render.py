"""Fills in envoy.yaml from the protos and the environment: ``python -m gateway.render --out FILE``.

The descriptor set that Envoy transcodes by is written beside it, as ``FILE`` with the suffix ``.binpb``, and with TLS
``tls-….yaml``, which name the files of certificates.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import jinja2
from pydantic import ValidationError

from gateway import tls_files
from gateway.contract import Contract, load
from gateway.local_replies import FLOOD, local_replies
from gateway.settings import COUNTING, EdgeSettings, addresses, host_and_port
from gateway.site import Site
from meshkit.tls import mesh_name

Replicas = Mapping[str, Sequence[tuple[str, int]]]

_SAID_BEFORE = {"retry-after", "grpc-message", "grpc-status-details-bin"}
"""Headers of an error that the limits service may have set already."""

_SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    # Whoever serves a page says what the page may load.
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    # What a service does not allow to be kept is not kept: answers may be one caller's own.
    "cache-control": "no-store",
}
"""What a browser may do with a reply, unless a service says otherwise of its own."""

_LATE_SECONDS = 0.5
"""What a service gets more than the edge waits."""


def main() -> None:
    """Renders for the environment, or ends with one line that says what is wrong with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the file that Envoy is to read")
    options = parser.parse_args()
    contract = load()
    try:
        edge = EdgeSettings()
        owners = [*contract.owners, COUNTING] if edge.limits else contract.owners
        write(options.out, contract, edge, addresses(owners))
    except (ValidationError, ValueError) as error:
        sys.exit(f"the edge cannot be configured: {_one_line(error)}")
    # No error: an image is made before it is given its certificates.
    for name, path in tls_files.missing(edge):
        sys.stderr.write(f"GEOMESH_EDGE_{name.upper()}: {path} is not there, and Envoy cannot serve without it\n")


def write(out: Path, contract: Contract, edge: EdgeSettings, clusters: Replicas) -> None:
    """Writes Envoy's configuration and its descriptor set.

    Args:
        out: The configuration's path.
        contract: The API.
        edge: The limits and ports of the edge.
        clusters: The replicas, host and port, of every service.
    """
    descriptors = out.resolve().with_suffix(".binpb")
    descriptors.write_bytes(contract.descriptor_set())
    tls_files.write(out, edge)
    out.write_text(render(contract, edge, clusters, descriptors))


def render(contract: Contract, edge: EdgeSettings, clusters: Replicas, descriptors: Path) -> str:
    """Returns Envoy's configuration.

    Args:
        contract: The API.
        edge: The limits and ports of the edge.
        clusters: The replicas, host and port, of every service.
        descriptors: Where Envoy finds the descriptor set; the files of certificates are beside it.

    Raises:
        ValueError: The collector's address has no host or no port.
    """
    environment = jinja2.Environment(
        line_statement_prefix="#%",
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 -- YAML, no HTML
    )
    template = environment.from_string(resources.files("gateway").joinpath("envoy.yaml").read_text())
    collector = edge.otlp_endpoint.removeprefix("http://")
    return template.render(
        contract=contract,
        edge=edge,
        clusters=clusters,
        replies=local_replies(contract),
        flood=FLOOD,
        said_before=_SAID_BEFORE,
        security=_SECURITY | _strict_transport(edge),
        site=Site.load(),
        oauth=resources.files("gateway").joinpath("oauth.lua").read_text(),
        descriptors=str(descriptors),
        secrets=tls_files.paths(descriptors),
        mesh_name=mesh_name,
        grpc_timeout=f"{round((edge.request_timeout_seconds + _LATE_SECONDS) * 1000)}m",
        otlp=host_and_port("GEOMESH_EDGE_OTLP_ENDPOINT", collector) if collector else None,
        status_filter=_status_filter,
        path_filter=_path_filter,
    )


def _strict_transport(edge: EdgeSettings) -> dict[str, str]:
    seconds = edge.strict_transport_seconds
    return {"strict-transport-security": f"max-age={seconds}; includeSubDomains"} if seconds else {}


def _status_filter(operator: str, status: int) -> str:
    # Envoy wants a name under which the value could be overridden at run time.
    value = f"{{default_value: {status}, runtime_key: edge.unused}}"
    return f"status_code_filter: {{comparison: {{op: {operator}, value: {value}}}}}"


def _path_filter(patterns: Sequence[str]) -> str:
    # One filter a path: Envoy bounds the size of a single expression.
    filters = [
        {"header_filter": {"header": {"name": ":path", "string_match": {"safe_regex": {"regex": each}}}}}
        for each in patterns
    ]
    return json.dumps(filters[0] if len(filters) == 1 else {"or_filter": {"filters": filters}})


def _one_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            # A rule about several settings has no place of its own, and names them.
            (f"GEOMESH_EDGE_{'_'.join(map(str, e['loc']))}: ".upper() if e["loc"] else "") + e["msg"]
            for e in error.errors()
        )
    return str(error)


if __name__ == "__main__":
    main()
