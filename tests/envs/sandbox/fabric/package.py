"""An application package with one guest executable, as a folder."""

from pathlib import Path

APPLICATION = """<?xml version="1.0" encoding="utf-8"?>
<ApplicationManifest xmlns="http://schemas.microsoft.com/2011/01/fabric"
                     ApplicationTypeName="ConsumerType" ApplicationTypeVersion="1.0.0">
  <Parameters>
    <Parameter Name="Instances" DefaultValue="-1" />
  </Parameters>
  <ServiceManifestImport>
    <ServiceManifestRef ServiceManifestName="ServicePkg" ServiceManifestVersion="1.0.0" />
  </ServiceManifestImport>
  <DefaultServices>
    <Service Name="Service">
      <StatelessService ServiceTypeName="GuestType" InstanceCount="[Instances]">
        <SingletonPartition />
      </StatelessService>
    </Service>
  </DefaultServices>
</ApplicationManifest>
"""
SERVICE = """<?xml version="1.0" encoding="utf-8"?>
<ServiceManifest xmlns="http://schemas.microsoft.com/2011/01/fabric" Name="ServicePkg" Version="1.0.0">
  <ServiceTypes>
    <StatelessServiceType ServiceTypeName="GuestType" UseImplicitHost="true">
      <PlacementConstraints>(NodeType == Worker)</PlacementConstraints>
    </StatelessServiceType>
  </ServiceTypes>
  <CodePackage Name="Code" Version="1.0.0">
    <EntryPoint>
      <ExeHost>
        <Program>python\\python.exe</Program>
        <Arguments>-m consumer</Arguments>
        <WorkingFolder>CodePackage</WorkingFolder>
      </ExeHost>
    </EntryPoint>
  </CodePackage>
  <ConfigPackage Name="Config" Version="1.0.0" />
</ServiceManifest>
"""


def files() -> dict[str, bytes]:
    return {
        "ApplicationManifest.xml": APPLICATION.encode(),
        "ServicePkg/ServiceManifest.xml": SERVICE.encode(),
        "ServicePkg/Code/python/python.exe": b"MZ",
        "ServicePkg/Code/consumer/__init__.py": b"",
        "ServicePkg/Config/Settings.xml": b"<Settings xmlns='http://schemas.microsoft.com/2011/01/fabric'/>",
    }


def guest(folder: Path) -> Path:
    for name, content in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
