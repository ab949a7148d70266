"""How to make sure that it is the mesh that answers."""

from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates other than the usual ones.

    Attributes:
        authority: PEM file of the certificate authority that vouches for the mesh; None for those of the system.
        certificate: PEM file of a certificate of the caller's own, where the mesh asks for one.
        key: PEM file of that certificate's private key.
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Returns what a channel is made with.

        Raises:
            ValueError: There is a certificate without its key, or the other way round.
            OSError: A file cannot be read.
        """
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; give both or neither")
        authority, key, certificate = (
            path.read_bytes() if path is not None else None for path in (self.authority, self.key, self.certificate)
        )
        return grpc.ssl_channel_credentials(authority, key, certificate)
