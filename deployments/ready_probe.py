"""Asks a server on this machine whether it is ready."""

import ipaddress
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass

from pydantic import SecretStr

from deployments.exposure import LOOPBACK


def local_address(host: str, port: int) -> str:
    """An address, with the port, at which this machine reaches a server that listens on `host`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"{host}:{port}"
    if address.is_unspecified:  # all interfaces
        return f"{LOOPBACK}:{port}"
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


@dataclass(frozen=True, slots=True)
class ReadyProbe:
    """Where to ask: the server's URL, a key that opens /readyz, and whom to trust where the URL is one of HTTPS."""

    url: str
    key: SecretStr | None = None
    trusted: ssl.SSLContext | None = None

    @classmethod
    def of(cls, host: str, port: int, key: SecretStr | None, trusted: ssl.SSLContext | None) -> "ReadyProbe":
        """The probe of a server that listens on `host`."""
        return cls(f"{'https' if trusted else 'http'}://{local_address(host, port)}", key, trusted)

    def is_ready(self) -> bool:
        """Whether /readyz answers 200 within 2 s."""
        headers = {"Authorization": f"Bearer {self.key.get_secret_value()}"} if self.key else {}
        request = urllib.request.Request(f"{self.url}/readyz", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=2, context=self.trusted) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False
