"""An authority of a test's own, and what it signs: the files that a Dask cluster over TLS is started with."""

from __future__ import annotations

import datetime
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def write_certificates(folder: Path, name: str = "cluster") -> Path:
    """Write NAME.yaml in the form of Dask's configuration, and the files that it lists."""
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, authority = _certificate("authority", None)
    key, signed = _certificate(name, (authority_key, authority))
    files = {"ca": folder / f"{name}-ca.pem", "cert": folder / f"{name}.pem", "key": folder / f"{name}.key"}
    files["ca"].write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    files["cert"].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files["key"].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    both = {"cert": files["cert"].name, "key": files["key"].name}
    config = folder / f"{name}.yaml"
    listed = {"ca-file": files["ca"].name, "client": both}
    config.write_text(yaml.safe_dump({"distributed": {"comm": {"tls": listed}}}), encoding="utf-8")
    return config


def options_of(config: Path) -> list[str]:
    """The same files as options of `dask scheduler` and `dask worker`."""
    start = config.with_suffix("")
    return ["--tls-ca-file", f"{start}-ca.pem", "--tls-cert", f"{start}.pem", "--tls-key", f"{start}.key"]


def _certificate(
    name: str, issuer: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[1].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    return key, builder.sign(key if issuer is None else issuer[0], hashes.SHA256())
