"""Renders Envoy's configuration as for a default environment and lets Envoy judge it: ``python -m gateway.validate``."""

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

from gateway.contract import load
from gateway.render import write
from gateway.settings import COUNTING, EdgeSettings
from meshkit.development_ca import issue, subjects
from meshkit.trusted_issuers import TrustedIssuer

_CERTIFICATES = Path("certificates")

# Both faces of every switch, so that what is rarely on cannot rot.
_CORP = TrustedIssuer(
    name="corp",
    issuer="https://id.example.org",
    audience="geomesh",
    jwks_url="https://id.example.org/keys",
    tenant_claim="org",
    tenants=("acme",),
)
_ENVIRONMENTS = {
    "default": EdgeSettings.model_construct(),
    "with tracing and CORS": EdgeSettings.model_construct(
        otlp_endpoint="otel-collector:4317", cors_origins=["https://example.org", "*"], trusted_hops=1
    ),
    "with TLS": EdgeSettings.model_construct(
        tls_certificate_path=_CERTIFICATES / "public.pem",
        tls_key_path=_CERTIFICATES / "public-key.pem",
        mesh_tls_certificate_path=_CERTIFICATES / "edge.pem",
        mesh_tls_key_path=_CERTIFICATES / "edge-key.pem",
        mesh_tls_ca_path=_CERTIFICATES / "ca.pem",
        strict_transport_seconds=31_536_000,
    ),
    "with another issuer": EdgeSettings.model_construct(
        trusted_issuers=[_CORP], issuers_ca_path=_CERTIFICATES / "ca.pem"
    ),
    "without limits": EdgeSettings.model_construct(limits=False),
}


def main() -> None:
    """Ends with 1 and Envoy's words if it refuses a configuration."""
    contract = load()
    clusters = {service: [(service, 50051)] for service in [*contract.owners, COUNTING]}
    for name, edge in _ENVIRONMENTS.items():
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            issue(_CERTIFICATES, subjects(contract.owners))
            configuration = Path(folder) / "envoy.yaml"
            write(configuration, contract, edge, clusters)
            envoy = [
                str(Path(sys.executable).with_name("envoy")),
                "--mode",
                "validate",
                "--config-path",
                str(configuration),
            ]
            judged = subprocess.run(envoy, capture_output=True, text=True, check=False)  # noqa: S603 -- our own
        if judged.returncode != 0:
            sys.exit(f"Envoy refuses the {name} configuration:\n{judged.stderr}{judged.stdout}")
        sys.stdout.write(f"Envoy takes the {name} configuration\n")


if __name__ == "__main__":
    main()
