"""The sections of an environment's settings: their keys, their ranges, and why a value is refused."""

from infra.sections.common import Section, wrong
from infra.sections.filesystem import Filesystem
from infra.sections.fleet import FileServer, Fleet, ScaleIn, Snapshots
from infra.sections.functions import Function, Functions
from infra.sections.ingress import (
    GATEWAY_PORT,
    MANAGEMENT_PORTS,
    NEVER_OPEN,
    Ingress,
    ManagementClient,
    PublicClient,
    TrafficPort,
)
from infra.sections.monitoring import Monitoring
from infra.sections.network import NEEDED_INSIDE, ZONES, InterfaceEndpoint, Nat, Network
from infra.sections.operations import Operations
from infra.sections.simulators import Simulators
from infra.sections.streaming import Archive, Partitions, Streaming

__all__ = [
    "GATEWAY_PORT",
    "MANAGEMENT_PORTS",
    "NEEDED_INSIDE",
    "NEVER_OPEN",
    "ZONES",
    "Archive",
    "FileServer",
    "Filesystem",
    "Fleet",
    "Function",
    "Functions",
    "Ingress",
    "InterfaceEndpoint",
    "ManagementClient",
    "Monitoring",
    "Nat",
    "Network",
    "Operations",
    "Partitions",
    "PublicClient",
    "ScaleIn",
    "Section",
    "Simulators",
    "Snapshots",
    "Streaming",
    "TrafficPort",
    "wrong",
]
