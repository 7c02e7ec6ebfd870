"""TLS contexts: nothing turns verification off. What listeners and clients do with them, the conformance suite says."""

from __future__ import annotations

import ssl

from skyhooks._tls import client_context, server_context


def test_verification_is_always_on(certificate):
    context = client_context(certificate)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_without_a_certificate_there_is_no_tls():
    assert server_context(None, None) is None
