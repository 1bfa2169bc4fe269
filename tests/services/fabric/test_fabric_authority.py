"""Certificates that are made, and what is found out about those that are there."""

from datetime import UTC, datetime, timedelta

import pytest

from services.fabric import authority
from services.fabric.authority import facts, issue, issued_by, read_pem, read_pfx
from services.fabric.errors import FabricServiceError
from services.fabric.identity import password


def test_both_certificates_are_of_one_authority_and_not_of_another() -> None:
    start = datetime(2026, 11, 25, tzinfo=UTC)
    made, other = issue("fleet", start), issue("fleet", start)
    root = read_pem(made.client.authority, "the secret")
    node, issuers = read_pfx(made.nodes, "the secret")
    client = read_pem(made.client.certificate, "the secret")
    assert issuers == [root]
    assert (facts(node).name, facts(client).name, facts(root).name) == (
        authority.node_name("fleet"),
        authority.client_name("fleet"),
        authority.authority_name("fleet"),
    )
    for certificate in (node, client):
        assert issued_by(certificate, root)
        assert not issued_by(certificate, read_pem(other.client.authority, "the secret"))
        assert facts(certificate).ends > start + timedelta(days=4 * 365)
    assert len(facts(root).thumbprint) == 40
    assert facts(root).thumbprint == facts(root).thumbprint.upper()


def test_what_is_no_certificate_is_named_by_its_secret() -> None:
    with pytest.raises(FabricServiceError, match="the secret holds no certificate as PEM"):
        read_pem("nothing", "the secret")
    with pytest.raises(FabricServiceError, match="the secret holds no PFX without a password"):
        read_pfx(b"nothing", "the secret")


@pytest.mark.parametrize("_", range(50))
def test_a_password_has_all_four_kinds_and_nothing_to_quote(_: int) -> None:
    found = password()
    assert len(found) == 32
    assert any(each.islower() for each in found)
    assert any(each.isupper() for each in found)
    assert any(each.isdigit() for each in found)
    assert set(found) & set("-_.+=")
    assert not set(found) & set("'\"`$\\&|<> ")
