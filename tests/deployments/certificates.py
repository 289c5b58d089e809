"""Certificates for tests."""

from pathlib import Path

import trustme


def write_certificate(path: Path, name: str, authority: trustme.CA | None = None) -> Path:
    """Write a certificate for `name`, of `authority` or of a new one, and its private key to `path`; return `path`."""
    certificate = (authority or trustme.CA()).issue_cert(name)
    parts = [certificate.private_key_pem, *certificate.cert_chain_pems]
    path.write_bytes(b"".join(part.bytes() for part in parts))
    return path
