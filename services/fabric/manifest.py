"""What the cluster's manifest tells: the nodes of the configuration that was applied last.

The configuration that the gateway hands out lists the nodes of the moment. An upgrade is judged against the one that
was applied last, which still has nodes whose state was removed since (microsoft/service-fabric,
StandaloneSettingsValidator.cs, GetRemovedNodes); the manifest is where those are seen.
"""

from xml.etree.ElementTree import ParseError, fromstring

from services.fabric.configuration import node
from services.fabric.errors import FabricServiceError


def listed(manifest: str) -> list[dict[str, str]]:
    """The nodes of a manifest, as a configuration lists them. Raises `FabricServiceError`."""
    try:
        root = fromstring(manifest)  # noqa: S314 - from the cluster, whose certificate was looked at
    except ParseError as error:
        raise FabricServiceError(f"the cluster's manifest is no XML: {error}") from error
    return [
        node(
            each.get("NodeName", ""),
            each.get("IPAddressOrFQDN", ""),
            each.get("NodeTypeRef", ""),
            each.get("FaultDomain", ""),
            each.get("UpgradeDomain", ""),
        )
        for each in root.iterfind(".//{*}NodeList/{*}Node")
    ]
