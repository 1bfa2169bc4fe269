"""The manifests of a package with one guest executable (published schema: ServiceFabricServiceModel.xsd).

Service Fabric starts the program on every node of the type that is named, starts it again when it ends, and moves on
with an upgrade domain by domain ("Deploy an existing executable to Service Fabric").
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from envs.errors import FleetstreamError

CODE: Final = "Code"
NAMESPACE: Final = "http://schemas.microsoft.com/2011/01/fabric"
EVERY_NODE: Final = "-1"
"""The number of instances that means one on every node of the type."""
_VERSION: Final = re.compile(r"[\w.-]{1,64}")


@dataclass(frozen=True)
class Guest:
    """A stateless service that is an executable."""

    name: str
    """Such as Consumer: the names of types and packages are made of it."""
    program: str
    arguments: str
    node_type: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the application with the environment variable each becomes."""

    @property
    def package(self) -> str:
        """The folder of its service manifest, and that manifest's name."""
        return f"{self.name}Pkg"

    @property
    def application_type(self) -> str:
        """The name of its application type."""
        return f"{self.name}Type"

    @property
    def service_type(self) -> str:
        """The name of its one service type."""
        return f"{self.name}ServiceType"


def render(guest: Guest, version: str) -> dict[str, str]:
    """Both manifests, by their path in the package. Raises `FleetstreamError` for a version that cannot be one."""
    if not _VERSION.fullmatch(version):
        raise FleetstreamError(f"{version!r} is no version: use up to 64 letters, digits, dots and hyphens")
    return {
        "ApplicationManifest.xml": _application(guest, version),
        f"{guest.package}/ServiceManifest.xml": _service(guest, version),
    }


def _application(guest: Guest, version: str) -> str:
    parameters = {"Instances": EVERY_NODE, **dict.fromkeys(guest.settings, "")}
    overrides = {variable: f"[{name}]" for name, variable in guest.settings.items()}
    return f"""<?xml version="1.0" encoding="utf-8"?>
<ApplicationManifest xmlns="{NAMESPACE}"
                     ApplicationTypeName={quoteattr(guest.application_type)} ApplicationTypeVersion="{version}">
  <Parameters>
{_lines("    <Parameter Name={} DefaultValue={} />", parameters)}
  </Parameters>
  <ServiceManifestImport>
    <ServiceManifestRef ServiceManifestName={quoteattr(guest.package)} ServiceManifestVersion="{version}" />
    <EnvironmentOverrides CodePackageRef="{CODE}">
{_lines("      <EnvironmentVariable Name={} Value={} />", overrides)}
    </EnvironmentOverrides>
  </ServiceManifestImport>
  <DefaultServices>
    <Service Name={quoteattr(guest.name)}>
      <StatelessService ServiceTypeName={quoteattr(guest.service_type)} InstanceCount="[Instances]">
        <SingletonPartition />
      </StatelessService>
    </Service>
  </DefaultServices>
</ApplicationManifest>
"""


def _service(guest: Guest, version: str) -> str:
    return f"""<?xml version="1.0" encoding="utf-8"?>
<ServiceManifest xmlns="{NAMESPACE}" Name={quoteattr(guest.package)} Version="{version}">
  <ServiceTypes>
    <StatelessServiceType ServiceTypeName={quoteattr(guest.service_type)} UseImplicitHost="true">
      <PlacementConstraints>(NodeType == {escape(guest.node_type)})</PlacementConstraints>
    </StatelessServiceType>
  </ServiceTypes>
  <CodePackage Name="{CODE}" Version="{version}">
    <EntryPoint>
      <ExeHost>
        <Program>{escape(guest.program)}</Program>
        <Arguments>{escape(guest.arguments)}</Arguments>
        <WorkingFolder>CodePackage</WorkingFolder>
      </ExeHost>
    </EntryPoint>
    <EnvironmentVariables>
{_lines("      <EnvironmentVariable Name={} Value={} />", dict.fromkeys(guest.settings.values(), ""))}
    </EnvironmentVariables>
  </CodePackage>
</ServiceManifest>
"""


def _lines(line: str, items: Mapping[str, str]) -> str:
    return "\n".join(line.format(quoteattr(name), quoteattr(value)) for name, value in items.items())
