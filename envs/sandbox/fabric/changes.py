"""Which change of a live cluster's configuration is accepted: the product's rules for an upgrade.

After microsoft/service-fabric, `StandaloneSettingsValidator.cs` (`ValidateUpdateFrom`, `ValidateTopologyAsync`,
`GetRemovedNodes`) and `UpgradeOrchestrationMessageProcessor.cs`. Whatever is refused there reaches the caller as
FABRIC_E_CONFIG_UPGRADE_FAILED.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from envs.sandbox.fabric.configuration import Configuration
from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.nodes import Node

CODE: Final = "FABRIC_E_CONFIG_UPGRADE_FAILED"


def judge(current: Configuration, target: Configuration, code_version: str, live: Iterable[Node]) -> tuple[str, ...]:
    """The nodes that the upgrade takes out of the cluster. Raises `FabricError` when the change is not accepted.

    `live` are the nodes the cluster lists; `current` is the last configuration that was applied, in which a node
    stays although its state was removed since.
    """
    nodes = {node.name: node for node in live}
    for broken in (
        *_settings(current, target, code_version),
        *_identities(target, nodes),
        *_members(current, target, nodes),
    ):
        raise FabricError(CODE, f"ValidationException: {broken}")
    return tuple(name for name in current.nodes if name not in target.nodes)


def _settings(current: Configuration, target: Configuration, code_version: str) -> Iterator[str]:
    if target.name != current.name:
        yield f"The name of the cluster cannot change from {current.name} to {target.name}."
    if target.version.lower() == current.version.lower():
        yield f"The cluster has the configuration version {current.version} already: an upgrade needs another one."
    for name, node_type in current.types.items():
        other = target.types.get(name)
        if other is None:
            if node_type.primary:
                yield f"The primary node type {name} cannot be deleted."
            continue
        if node_type.primary is not other.primary:
            yield f"Whether the node type {name} is primary cannot change."
        for key in ("ClientConnectionEndpointPort", "HttpGatewayEndpointPort"):
            if node_type.ports[key] != other.ports[key]:
                yield f"{key} of the node type {name} cannot change."
    if target.secured is not current.secured:
        yield "A cluster with certificates cannot do without them, nor one without begin to use them."
    if target.code_version and target.code_version != code_version:
        yield f"There is no package of the version {target.code_version} here: the cluster stays at {code_version}."


def _identities(target: Configuration, nodes: dict[str, Node]) -> Iterator[str]:
    addresses = {node.address: node for node in nodes.values()}
    for entry in target.nodes.values():
        node, neighbour = nodes.get(entry.name), addresses.get(entry.address)
        if node is not None and (node.address, node.type) != (entry.address, entry.type):
            yield f"The address and the node type of node {entry.name} cannot change."
        elif node is None and neighbour is not None:
            yield f"The node at {entry.address} is {neighbour.name}: its name cannot change to {entry.name}."


def _members(current: Configuration, target: Configuration, nodes: dict[str, Node]) -> Iterator[str]:
    removed = {name for name in current.nodes if name not in target.nodes}
    if set(nodes) - set(current.nodes):
        # Nodes have joined since the last upgrade: this one has to name exactly the nodes there are.
        for name in sorted(set(target.nodes) ^ set(nodes)):
            yield (
                "Model validation error. Nodes have been added with AddNode.ps1: now the configuration has to list "
                f"exactly its nodes, and {name} is {'not listed' if name in nodes else 'not in the cluster'}."
            )
    else:
        added = sorted(set(target.nodes) - set(current.nodes))
        if added and removed:
            yield "Model validation error. Nodes cannot be added and removed by the same upgrade."
        elif added:
            yield f"Model validation error. {added[0]} is not in the cluster: nodes join with AddNode.ps1 first."
    if removed != set(target.to_remove):
        wrong = ", ".join(sorted(removed ^ set(target.to_remove)))
        yield (
            "Model validation error. NodesToBeRemoved of the section Setup has to name exactly the nodes that the "
            f"configuration leaves out; it differs for {wrong}."
        )
