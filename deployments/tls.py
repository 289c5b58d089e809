"""HTTPS: HAProxy presents the certificate in the file that MUNJANG_TLS_FILE names."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from deployments.exposure import uses_own_haproxy
from pipelines.errors import ConfigError

TLS_VARIABLE = "MUNJANG_TLS_FILE"


def tls_file(environment: Mapping[str, str]) -> Path | None:
    """The file with certificates and private key (PEM) that the environment names, None where it names none.

    Raises ConfigError for a file that can't be used, and where the server runs without deploy/haproxy, which reads it.
    """
    name = environment.get(TLS_VARIABLE)
    if not name:
        return None
    if not uses_own_haproxy(environment):
        raise ConfigError(f"{TLS_VARIABLE} is set, but only HAProxy, started by deploy/haproxy, offers HTTPS")
    path = Path(name).absolute()
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(path)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{TLS_VARIABLE}={name} has no certificate with its private key: {error}") from error
    return path


def trusting(path: Path) -> ssl.SSLContext:
    """A client's context that trusts the certificates in the file alone, under whatever name."""
    context = ssl.create_default_context(cafile=os.fspath(path))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the issuer need not be in the file
    return context
