"""A certificate that nobody trusts."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

from tests.support.requirements import missing


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's TLS context with a self-signed certificate, made in a folder."""
    openssl = shutil.which("openssl")
    if openssl is None:
        missing("openssl is not installed, so no certificate can be made")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        + ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost"]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context
