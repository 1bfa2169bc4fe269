"""The deployment's scripts as the pipeline runs them: AWS's and Microsoft's own clients on the sandbox's parts."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from envs.guest import package
from envs.project import ROOT
from envs.sandbox import account
from envs.sandbox.aws.session import emulated_session
from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.gateway import Gateway, TlsFiles
from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.rest import Answer, Request
from envs.toolchain import cache_dir
from tests.envs.sandbox.aws.emulated import running
from tests.envs.sandbox.fabric.certificates import Authority, authority
from tests.envs.sandbox.fabric.clusters import Clock, certificates, formed, join
from tests.pipelines.azure import deployment, pipeline, scripts

pytestmark = [pytest.mark.xdist_group("pipeline"), pytest.mark.timeout(900)]

QUICK = 200.0


class QuickClock(Clock):
    """Time that passes by itself, faster than ours: deployments wait for what a cluster does."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = time.monotonic()

    def __call__(self) -> float:
        return self.now + (time.monotonic() - self._begun) * QUICK


class WeakGateway(Gateway):
    """Takes no more of some uploads."""

    full = False

    def respond(self, request: Request, certificate: bytes | None) -> Answer:
        if self.full and request.method == "PUT" and request.path.endswith(".zip"):
            raise FabricError("FABRIC_E_IMAGESTORE_IOERROR", "the disk is full")
        return super().respond(request, certificate)


@dataclass
class Site:
    """A cluster with its gateway, an account with its secret, and an agent between them."""

    cluster: Cluster
    gateway: WeakGateway
    certificates: Authority
    secrets: object
    variables: dict[str, str]
    environment: dict[str, str]
    package: Path

    def deploy(self, *, folder: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs the deployment's script steps in their order, until one fails, as an agent does."""
        given = self.variables | variables
        ran = None
        for script, own in scripts(deployment(), given):
            replaced = {"PACKAGE": str(folder)} if folder is not None and "PACKAGE" in own else {}
            ran = subprocess.run(
                ["bash", "--noprofile", "--norc", "-c", script],
                cwd=ROOT,
                env=self.environment | own | replaced,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if ran.returncode:
                break
        assert ran is not None
        return ran

    def put_secret(self, name: str, **changed: str) -> str:
        pem = self.certificates.issue("drill-client").read_text()
        key, mark, certificate = pem.partition("-----BEGIN CERTIFICATE-----")
        found = {
            "certificate": mark + certificate,
            "key": key,
            "authority": self.certificates.path.read_text(),
            "server_name": "drill-node",
            "client_name": "drill-client",
        }
        content = {key: value for key, value in (found | changed).items() if value}
        return self.secrets.create_secret(Name=name, SecretString=json.dumps(content))["ARN"]  # pyright: ignore


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("pipeline")
    ours = authority(folder / "tls")
    clock = QuickClock()
    cluster = formed(clock, security=certificates())
    join(cluster, clock, 0, 1, 2)
    # As on AWS: the certificate bears the cluster's name, and the address is not in it.
    shown = ours.issue("drill-node")
    gateway = WeakGateway(cluster, tls=TlsFiles(shown, shown, ours.path))
    gateway.start()
    workspace = folder / "workspace"
    made = package.consumer(workspace / "consumer")
    (folder / "aws").mkdir()
    with running(folder / "aws") as aws:
        settings = account.environment(aws.state_dir)
        variables = {
            "Agent.ToolsDirectory": str(cache_dir() / "agent-tools"),
            "Pipeline.Workspace": str(workspace),
            "AWS_DEFAULT_REGION": settings["AWS_DEFAULT_REGION"],
            "FABRIC_ENDPOINT": gateway.url,
            "KAFKA_BOOTSTRAP": "b-1.example:9098,b-2.example:9098",
        }
        home = folder / "home"
        home.mkdir()
        python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        environment = {**os.environ, **settings, "HOME": str(home), "PYTHON": str(python)}
        environment |= {"WAIT_SECONDS": "120", "POLL_SECONDS": "0.2", "TMPDIR": str(folder)}
        secrets = emulated_session(account.load(aws.state_dir)).client("secretsmanager")
        found = Site(cluster, gateway, ours, secrets, variables, environment, made.path)
        found.variables["FABRIC_CLIENT_SECRET"] = found.put_secret("client-certificate")
        yield found
    gateway.stop()


def another(site: Site, folder: Path, version: str) -> Path:
    """The package in another version, without what the image builder does not look for: it is uploaded sooner."""
    shutil.copytree(site.package, folder, ignore=shutil.ignore_patterns("lib", "site", "services"))
    for path in (folder / "ApplicationManifest.xml", folder / "ConsumerPkg" / "ServiceManifest.xml"):
        path.write_text(path.read_text().replace(deployed_version(site.package), version))
    return folder


def deployed_version(folder: Path) -> str:
    text = (folder / "ApplicationManifest.xml").read_text()
    return text.partition('ApplicationTypeVersion="')[2].partition('"')[0]


def test_a_deployment_creates_leaves_alone_and_upgrades(site: Site, tmp_path: Path) -> None:
    applications = site.cluster.applications
    first = site.deploy()
    assert first.returncode == 0, first.stdout
    version = deployed_version(site.package)
    with site.cluster.lock:
        application = applications.require("Consumer")
        assert application.type.version == version
        assert application.parameters["Bootstrap"] == site.variables["KAFKA_BOOTSTRAP"]
        service = applications.service("Consumer~Consumer")
    deadline = time.monotonic() + 60
    while len(service.partition.running) < 3 and time.monotonic() < deadline:
        with site.cluster.lock:
            site.cluster.tick()
    assert sorted(service.partition.replicas) == ["worker-0", "worker-1", "worker-2"]
    assert applications.store.content()["StoreFiles"] == applications.store.content()["StoreFolders"] == []

    again = site.deploy()
    assert again.returncode == 0, again.stdout
    assert f"fabric:/Consumer is of {version} already" in again.stdout
    assert "uploading" not in again.stdout

    upgraded = site.deploy(folder=another(site, tmp_path / "next", "next"))
    assert upgraded.returncode == 0, upgraded.stdout
    assert f"upgrading fabric:/Consumer from {version} to next" in upgraded.stdout
    assert application.type.version == "next"
    assert [*applications.types] == [("ConsumerType", "next")]


def test_a_failing_upload_fails_the_deployment(site: Site, tmp_path: Path) -> None:
    folder = another(site, tmp_path / "full", "full")
    site.gateway.full = True
    try:
        ran = site.deploy(folder=folder)
    finally:
        site.gateway.full = False
    assert ran.returncode != 0, ran.stdout
    applications = site.cluster.applications
    assert ("ConsumerType", "full") not in applications.types
    assert applications.store.content()["StoreFolders"] == []


def test_a_package_that_is_refused_is_not_left_in_the_image_store(site: Site, tmp_path: Path) -> None:
    folder = another(site, tmp_path / "broken", "broken")
    (folder / "ConsumerPkg" / "Code" / "python.exe").unlink()
    ran = site.deploy(folder=folder)
    assert ran.returncode != 0
    assert "the program ConsumerPkg/Code/python.exe is not in the package" in ran.stdout
    assert site.cluster.applications.store.content()["StoreFolders"] == []


def test_a_secret_that_lacks_something_is_told_by_name(site: Site) -> None:
    ran = site.deploy(FABRIC_CLIENT_SECRET=site.put_secret("half", key="", authority=""))
    assert ran.returncode != 0
    assert "lacks key, authority" in ran.stdout


def test_a_gateway_of_another_name_is_not_trusted(site: Site) -> None:
    ran = site.deploy(FABRIC_CLIENT_SECRET=site.put_secret("other", server_name="another-node"))
    assert ran.returncode != 0
    assert "another-node" in ran.stdout


def test_the_agents_are_self_hosted_unless_asked() -> None:
    job = deployment()
    assert job["pool"] == {"name": "fleetstream-vpc"}
    assert "vmImage" in deployment(hosted=True)["pool"]
    assert not any("AWS_SECRET_ACCESS_KEY" in own for _, own in scripts(job, {}))
    assert any("AWS_SECRET_ACCESS_KEY" in own for _, own in scripts(deployment(hosted=True), {}))


def test_nothing_is_deployed_before_it_was_tested_and_packaged() -> None:
    stages = {stage["stage"]: stage for stage in pipeline()["stages"]}
    assert [*stages] == ["verify", "package", "deploy"]
    assert stages["deploy"]["dependsOn"] == ["verify", "package"]
    assert "succeeded()" in stages["deploy"]["condition"]
