"""TLS contexts: nothing turns verification off. What listeners and clients do with them, the conformance suite says."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from skyhooks._tls import client_context, server_context


def test_verification_is_always_on(certificate):
    context = client_context(certificate)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_without_a_certificate_there_is_no_tls():
    assert server_context(None, None) is None


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(certificate, tmp_path):
    pem = Path(certificate).read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    encryption = serialization.BestAvailableEncryption(b"secret")
    path = tmp_path / "encrypted.key"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    with pytest.raises(ValueError, match="the key is encrypted"):
        server_context(certificate, str(path))
