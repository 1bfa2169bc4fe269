"""Rules of security: who is known by which certificate, and by which name of Windows."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.fabric.rules.rule import STANDALONE, VALIDATOR, Book, Found
from services.fabric.rules.view import get, is_placeholder, items, properties, repeated, text

MOST_NAMES: Final = 2
"""Common names of one kind of certificate, and issuers of it, clients' apart."""

_SERVERS: Final = ("Cluster", "Server", "ReverseProxy")
_WITH_STORES: Final = ("Cluster", "Server", "Client")
_INFORMATION: Final = "properties.security.CertificateInformation"

_book = Book()


def _security(configuration: Any) -> Any:
    return get(properties(configuration), "security")


def certificates(configuration: Any) -> Any:
    """What the configuration says of certificates; None: nothing."""
    return get(_security(configuration), "CertificateInformation")


def names(information: Any, kind: str) -> list[Mapping[str, Any]]:
    """The common names of one kind: a list for clients, one level deeper for the others."""
    field = f"{kind}CertificateCommonNames"
    return items(information, field) if kind == "Client" else items(get(information, field), "CommonNames")


def _all_names(information: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in ("Client", *_SERVERS):
        deeper = "" if kind == "Client" else ".CommonNames"
        for at, each in enumerate(names(information, kind)):
            yield f"{_INFORMATION}.{kind}CertificateCommonNames{deeper}[{at}]", each


def thumbprints(value: str) -> list[str]:
    """The thumbprints in a list with commas."""
    return value.split(",")


def _is_thumbprint(value: str) -> bool:
    return is_placeholder(value) or set(value.lower()) <= set("0123456789abcdef ")


@_book.rule("client-needs-server", VALIDATOR)
def _client_needs_server(configuration: Any) -> Found:
    information = certificates(configuration)
    clients = names(information, "Client") or items(information, "ClientCertificateThumbprints")
    if clients and not (get(information, "ServerCertificate") or names(information, "Server")):
        yield _INFORMATION, "clients have certificates, the server has none"


@_book.rule("thumbprints", VALIDATOR)
def _thumbprints(configuration: Any) -> Found:
    information = certificates(configuration)
    for at, each in enumerate(items(information, "ClientCertificateThumbprints")):
        if not _is_thumbprint(text(each, "CertificateThumbprint")):
            path = f"{_INFORMATION}.ClientCertificateThumbprints[{at}]"
            yield (
                path,
                f"{text(each, 'CertificateThumbprint')!r} is no thumbprint: hexadecimal digits and blanks only",
            )
    for kind in _SERVERS:
        for name in ("Thumbprint", "ThumbprintSecondary"):
            found = text(get(information, f"{kind}Certificate"), name)
            if not _is_thumbprint(found):
                path = f"{_INFORMATION}.{kind}Certificate.{name}"
                yield path, f"{found!r} is no thumbprint: hexadecimal digits and blanks only"


@_book.rule("common-names-given", VALIDATOR)
def _common_names_given(configuration: Any) -> Found:
    for path, each in _all_names(certificates(configuration)):
        if not text(each, "CertificateCommonName").strip():
            yield f"{path}.CertificateCommonName", "is missing or empty"


@_book.rule("issuer-thumbprints", VALIDATOR)
def _issuer_thumbprints(configuration: Any) -> Found:
    for path, each in _all_names(certificates(configuration)):
        found = text(each, "CertificateIssuerThumbprint")
        if not found.strip():
            continue
        if "ReverseProxy" in path:
            yield f"{path}.CertificateIssuerThumbprint", "a reverse proxy's certificate has no issuer's thumbprint"
        elif not all(map(_is_thumbprint, thumbprints(found))):
            yield f"{path}.CertificateIssuerThumbprint", f"{found!r} is no list of thumbprints with commas between"
        elif repeated(thumbprints(found.lower())):
            yield f"{path}.CertificateIssuerThumbprint", "has one thumbprint twice"


@_book.rule("common-names-number", VALIDATOR)
def _common_names_number(configuration: Any) -> Found:
    for kind in _SERVERS:
        count = len(names(certificates(configuration), kind))
        if count > MOST_NAMES:
            yield f"{_INFORMATION}.{kind}CertificateCommonNames", f"{count} common names: at most {MOST_NAMES}"


@_book.rule("common-names-unique", VALIDATOR)
def _common_names_unique(configuration: Any) -> Found:
    for kind in _SERVERS:
        found = [text(each, "CertificateCommonName") for each in names(certificates(configuration), kind)]
        for name in repeated(found):
            yield f"{_INFORMATION}.{kind}CertificateCommonNames", f"{name!r} is there twice"


@_book.rule("name-or-thumbprint", VALIDATOR)
def _name_or_thumbprint(configuration: Any) -> Found:
    information = certificates(configuration)
    for kind in _SERVERS:
        by_name, by_thumbprint = f"{kind}CertificateCommonNames", f"{kind}Certificate"
        if get(information, by_name) is not None and get(information, by_thumbprint) is not None:
            yield f"{_INFORMATION}.{by_name}", f"stands beside {by_thumbprint}: one of the two"


@_book.rule("issuer-stores", VALIDATOR)
def _issuer_stores(configuration: Any) -> Found:
    information = certificates(configuration)
    for kind in _WITH_STORES:
        path, stores = f"{_INFORMATION}.{kind}CertificateIssuerStores", _stores(information, kind)
        if not stores:
            continue
        if get(information, f"{kind}CertificateCommonNames") is None:
            yield path, f"there is no {kind}CertificateCommonNames that they would be for"
        if any(text(each, "CertificateIssuerThumbprint") for each in names(information, kind)):
            yield path, "issuers are named by thumbprint already: one of the two"
        if kind != "Client" and len(stores) > MOST_NAMES:
            yield path, f"{len(stores)} issuers: at most {MOST_NAMES}"
        for name in repeated([text(each, "IssuerCommonName").lower() for each in stores]):
            yield path, f"the issuer {name!r} is there twice"


@_book.rule("issuer-store-fields", VALIDATOR)
def _issuer_store_fields(configuration: Any) -> Found:
    information = certificates(configuration)
    for kind in _WITH_STORES:
        for at, each in enumerate(_stores(information, kind)):
            path = f"{_INFORMATION}.{kind}CertificateIssuerStores[{at}]"
            if get(each, "IssuerCommonName") is None:
                yield f"{path}.IssuerCommonName", "is missing"
            found = [name.strip().lower() for name in text(each, "X509StoreNames").split(",")]
            if found == [""]:
                yield f"{path}.X509StoreNames", "is missing or empty"
            for name in repeated(found):
                yield f"{path}.X509StoreNames", f"{name!r} is there twice"


def _stores(information: Any, kind: str) -> list[Mapping[str, Any]]:
    return items(information, f"{kind}CertificateIssuerStores")


@_book.rule("windows-identities", STANDALONE)
def _windows_identities(configuration: Any) -> Found:
    security = _security(configuration)
    kind = text(security, "ClusterCredentialType").lower()
    identities = get(security, "WindowsIdentities")
    account = get(identities, "ClustergMSAIdentity")
    path = "properties.security.WindowsIdentities"
    if kind == "windows" and identities is None:
        yield path, "is missing, and ClusterCredentialType is Windows"
    elif kind == "windows" and account is not None and get(identities, "ClusterSPN") is None:
        yield f"{path}.ClusterSPN", "is missing beside ClustergMSAIdentity"
    elif kind in ("", "none") and account is not None:
        yield f"{path}.ClustergMSAIdentity", "takes effect only when ClusterCredentialType is Windows"


@_book.rule("directory-needs-certificate", VALIDATOR)
def _directory_needs_certificate(configuration: Any) -> Found:
    security = _security(configuration)
    if get(security, "AzureActiveDirectory") is not None and certificates(configuration) is None:
        yield "properties.security.AzureActiveDirectory", "needs a server certificate in CertificateInformation"


RULES: Final = tuple(_book.rules)
