"""Certificates by which the servers of one store know each other, and nobody else is let in."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local.private import write_private

LASTS = timedelta(days=3_650)
CLOCKS_DIFFER = timedelta(days=1)


def make(folder: Path) -> dict[str, Path]:
    """`ca`, `cert` and `key` as PEM files in `folder`: one certificate for both ends of a connection.

    New at each call. The authority's own key is forgotten here, so there will never be another certificate of it.
    """
    authority, node = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = (
        _begun("palate store", "palate store", authority)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority, hashes.SHA256())
    )
    certificate = (
        _begun("palate store server", "palate store", node)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(authority, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = node.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")}
    for name, content in (("ca", ca.public_bytes(pem)), ("cert", certificate.public_bytes(pem)), ("key", key)):
        write_private(files[name], content.decode())
    return files


def _begun(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + LASTS)
    )
