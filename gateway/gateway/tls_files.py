"""Where Envoy finds its certificates, as files of their own beside its configuration.

Envoy only reads a certificate again when it was handed out this way (its SDS); one that is named in the configuration
itself stays until a restart. It looks when something is moved into the certificate's folder, as Kubernetes and
`meshkit.development_ca` do it.
"""

import json
from pathlib import Path
from typing import Any, Final

from gateway.settings import EdgeSettings

PUBLIC: Final = "public"
"""What the public listener proves itself with."""

MESH: Final = "mesh"
"""What Envoy proves itself with to the services."""

AUTHORITIES: Final = "authorities"
"""Whom it believes that a service is what it says."""

_TYPE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


def paths(configuration: Path) -> dict[str, str]:
    """Returns where each secret's file is, by its name."""
    folder = configuration.resolve().parent
    return {name: str(folder / f"tls-{name}.yaml") for name in (PUBLIC, MESH, AUTHORITIES)}


def write(configuration: Path, edge: EdgeSettings) -> None:
    """Writes the files of the secrets that the settings name, and removes those of a time when they named others."""
    wanted: dict[str, dict[str, Any]] = {}
    if edge.tls_certificate_path and edge.tls_key_path:
        wanted[PUBLIC] = {"tls_certificate": _pair(edge.tls_certificate_path, edge.tls_key_path)}
    if edge.mesh_tls_certificate_path and edge.mesh_tls_key_path and edge.mesh_tls_ca_path:
        wanted[MESH] = {"tls_certificate": _pair(edge.mesh_tls_certificate_path, edge.mesh_tls_key_path)}
        authorities = {"trusted_ca": _file(edge.mesh_tls_ca_path), "watched_directory": _folder(edge.mesh_tls_ca_path)}
        wanted[AUTHORITIES] = {"validation_context": authorities}
    for name, path in paths(configuration).items():
        if name in wanted:
            # JSON is YAML.
            secret = {"@type": _TYPE, "name": name} | wanted[name]
            Path(path).write_text(json.dumps({"resources": [secret]}, indent=1))
        else:
            Path(path).unlink(missing_ok=True)


def missing(edge: EdgeSettings) -> list[tuple[str, Path]]:
    """Returns the settings that name a file which is not there, with the file."""
    named = [(name, getattr(edge, name)) for name in EdgeSettings.model_fields if "tls_" in name]
    if any(each.jwks_url.startswith("https:") for each in edge.trusted_issuers):
        named.append(("issuers_ca_path", edge.issuers_ca_path))
    return [(name, path) for name, path in named if path is not None and not path.is_file()]


def _pair(certificate: Path, key: Path) -> dict[str, Any]:
    return {
        "certificate_chain": _file(certificate),
        "private_key": _file(key),
        "watched_directory": _folder(certificate),
    }


def _file(path: Path) -> dict[str, str]:
    return {"filename": str(path.absolute())}


def _folder(path: Path) -> dict[str, str]:
    return {"path": str(path.absolute().parent)}
