"""Rules of a change: what an upgrade of the configuration may alter.

All of them stand in ValidateUpdateFrom and what it calls; that added nodes have joined before, and which certificates
are installed, is seen by the cluster alone.
"""

from typing import Any, Final

from services.fabric.rules.rule import STANDALONE, Book, Found
from services.fabric.rules.security import certificates, names, thumbprints
from services.fabric.rules.view import (
    flag,
    get,
    items,
    node_types,
    nodes,
    number,
    parameter,
    properties,
    text,
)

TO_BE_REMOVED: Final = "NodesToBeRemoved"
"""The parameter of Setup that names the nodes which an upgrade takes out of the configuration."""

_book = Book()


def _by_name(configuration: Any) -> dict[str, Any]:
    return {text(node, "nodeName"): node for node in nodes(configuration)}


@_book.rule("name-stays", STANDALONE)
def _name_stays(current: Any, new: Any) -> Found:
    if text(current, "name") != text(new, "name"):
        yield "name", f"the cluster is {text(current, 'name')!r}: its name cannot change"


@_book.rule("version-changes", STANDALONE)
def _version_changes(current: Any, new: Any) -> Found:
    found = text(new, "clusterConfigurationVersion")
    if found == text(current, "clusterConfigurationVersion"):
        yield "clusterConfigurationVersion", f"{found!r} is what the cluster has: raise it"


@_book.rule("node-types-stay", STANDALONE)
def _node_types_stay(current: Any, new: Any) -> Found:
    after = {text(each, "name"): each for each in node_types(new)}
    for each in node_types(current):
        name = text(each, "name")
        other = after.get(name)
        if other is None:
            if flag(each, "isPrimary"):
                yield "properties.nodeTypes", f"{name} is the primary type: it cannot go"
            continue
        if flag(each, "isPrimary") and not flag(other, "isPrimary"):
            yield "properties.nodeTypes", f"{name} is the primary type: it stays that"
        for port in ("clientConnectionEndpointPort", "httpGatewayEndpointPort"):
            if number(each, port) != number(other, port):
                yield "properties.nodeTypes", f"{name}: {port} cannot change"


@_book.rule("nodes-stay", STANDALONE)
def _nodes_stay(current: Any, new: Any) -> Found:
    before, after = _by_name(current), _by_name(new)
    for name in sorted(before.keys() & after.keys()):
        for field in ("iPAddress", "nodeTypeRef"):
            if text(before[name], field) != text(after[name], field):
                yield f"nodes {name}.{field}", f"cannot change from {text(before[name], field)}"
    places = {text(node, "iPAddress"): name for name, node in before.items()}
    for name, node in after.items():
        holder = places.get(text(node, "iPAddress"))
        if holder is not None and holder != name and name not in before:
            yield f"nodes {name}.iPAddress", f"is that of {holder}: a machine's node keeps its name"


@_book.rule("removed-nodes-named", STANDALONE)
def _removed_nodes_named(current: Any, new: Any) -> Found:
    removed = _by_name(current).keys() - _by_name(new).keys()
    value = parameter(new, "Setup", TO_BE_REMOVED)
    named = {name.strip() for name in value.split(",")} if value is not None else set()
    path = f"properties.fabricSettings Setup/{TO_BE_REMOVED}"
    if missing := removed - named:
        yield path, f"does not name {', '.join(sorted(missing))}, which the configuration leaves out"
    if unknown := named - removed:
        yield path, f"names {', '.join(sorted(unknown)) or 'nothing'}, which the configuration does not leave out"


@_book.rule("add-or-remove", STANDALONE)
def _add_or_remove(current: Any, new: Any) -> Found:
    """Where the upgrade itself adds nodes, as with a group managed account; elsewhere they have joined before it, and
    the configuration lists exactly the nodes that the cluster has."""
    before, after = _by_name(current).keys(), _by_name(new).keys()
    identities = get(get(properties(current), "security"), "WindowsIdentities")
    if get(identities, "ClustergMSAIdentity") is not None and before - after and after - before:
        yield "nodes", "one upgrade adds nodes or removes some, not both"


@_book.rule("security-stays", STANDALONE)
def _security_stays(current: Any, new: Any) -> Found:
    for name in ("CertificateInformation", "WindowsIdentities"):
        before, after = (get(get(properties(each), "security"), name) is not None for each in (current, new))
        if before != after:
            yield f"properties.security.{name}", f"cannot be {'added' if after else 'taken away'}"


@_book.rule("certificates-overlap", STANDALONE)
def _certificates_overlap(current: Any, new: Any) -> Found:
    """Nodes that have the change already, and those that have not, must know each other."""
    (before_kind, before), (after_kind, after) = (_known_by(certificates(each)) for each in (current, new))
    path = "properties.security.CertificateInformation"
    if not before or not after or before == after or before_kind != after_kind:
        return
    if len(before) > 1 and len(after) > 1:
        yield path, "two certificates cannot be replaced by two others in one upgrade"
    elif not set(before) & set(after) and not len(before) == len(after) == 1:
        yield path, "nothing by which the cluster knows itself now would be left"


def _known_by(information: Any) -> tuple[str, list[str]]:
    """By what nodes know each other: thumbprints or common names."""
    certificate = get(information, "ClusterCertificate")
    found = [text(certificate, name).lower() for name in ("Thumbprint", "ThumbprintSecondary")]
    if certificate is not None:
        return "thumbprint", [each for each in found if each.strip()]
    return "name", [text(each, "CertificateCommonName") for each in names(information, "Cluster")]


@_book.rule("issuers-overlap", STANDALONE)
def _issuers_overlap(current: Any, new: Any) -> Found:
    after = {text(each, "CertificateCommonName"): each for each in names(certificates(new), "Cluster")}
    for each in names(certificates(current), "Cluster"):
        name = text(each, "CertificateCommonName")
        before, now = (text(one, "CertificateIssuerThumbprint").lower() for one in (each, after.get(name)))
        if before.strip() and now.strip() and not set(thumbprints(before)) & set(thumbprints(now)):
            yield "properties.security.CertificateInformation", f"{name}: no issuer of those it has now would be left"


@_book.rule("issuer-stores-overlap", STANDALONE)
def _issuer_stores_overlap(current: Any, new: Any) -> Found:
    path = "properties.security.CertificateInformation.ClusterCertificateIssuerStores"
    before, after = (
        {text(one, "IssuerCommonName"): text(one, "X509StoreNames") for one in _stores(each)}
        for each in (current, new)
    )
    if before and not before.keys() & after.keys():
        yield path, "no issuer of those it has now would be left"
    for name in sorted(before.keys() & after.keys()):
        stores = [{store.strip() for store in each[name].split(",")} for each in (before, after)]
        if not stores[0] & stores[1]:
            yield path, f"{name}: no store of those it is looked for in now would be left"


def _stores(configuration: Any) -> list[Any]:
    return list(items(certificates(configuration), "ClusterCertificateIssuerStores"))


@_book.rule("repair-manager-stays", STANDALONE)
def _repair_manager_stays(current: Any, new: Any) -> Found:
    before, after = (get(properties(each), "addonFeatures") or () for each in (current, new))
    if "RepairManager" in before and "RepairManager" not in after:
        yield "properties.addonFeatures", "RepairManager cannot be taken away"


@_book.rule("code-version", STANDALONE)
def _code_version(current: Any, new: Any) -> Found:
    wanted = text(properties(new), "codeVersion")
    changed = wanted not in ("", "*", text(properties(current), "codeVersion"))
    if changed and flag(properties(new), "fabricClusterAutoupgradeEnabled"):
        yield "properties.codeVersion", "cannot be chosen while fabricClusterAutoupgradeEnabled is true"


RULES: Final = tuple(_book.rules)
