"""Groups and machines in an emulated account, and waiting for what they become."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.network import Network, make_network

IMAGE = "resolve:ssm:/aws/service/ami-windows-latest/Windows_Server-2022-English-Full-Base"
ZONE = "us-east-1a"

Result = TypeVar("Result")


def eventually(probe: Callable[[], Result], seconds: float = 60) -> Result:
    """What the probe tells once it is true; the last it told is shown when it never is."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < deadline, f"still {found!r}"
        time.sleep(0.05)
    return found


@dataclass(frozen=True)
class FleetStage:
    """One account, one network, and what the tests of groups do with them."""

    aws: Aws
    network: Network

    @property
    def ec2(self) -> Any:
        return self.aws.client("ec2")

    @property
    def scaling(self) -> Any:
        return self.aws.client("autoscaling")

    def template(self, **data: Any) -> str:
        """A launch template's id."""
        wanted = {"ImageId": IMAGE, "InstanceType": "m5.large", **data}
        made = self.ec2.create_launch_template(
            LaunchTemplateName=f"t-{time.monotonic_ns()}", LaunchTemplateData=wanted
        )
        return made["LaunchTemplate"]["LaunchTemplateId"]

    def make_group(self, template: str, **about: Any) -> str:
        """A group's name; unless told otherwise it is one of one in the first subnet."""
        name = f"group-{time.monotonic_ns()}"
        wanted = {"MinSize": 1, "MaxSize": 1, "VPCZoneIdentifier": self.network.subnets[0], **about}
        self.scaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchTemplate={"LaunchTemplateId": template, "Version": wanted.pop("version", "$Latest")},
            **{key: value for key, value in wanted.items() if value is not None},
        )
        return name

    def group(self, name: str) -> dict[str, Any] | None:
        told = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        return told[0] if told else None

    def states(self, name: str) -> dict[str, str]:
        """The life cycle state of each instance of a group."""
        return {each["InstanceId"]: each["LifecycleState"] for each in (self.group(name) or {}).get("Instances", [])}

    def reach(self, name: str, *states: str) -> list[str]:
        """The instances of a group once they are in exactly these states, in their order."""

        def found() -> list[str]:
            told = self.states(name)
            return list(told) if sorted(told.values()) == sorted(states) else []

        if not states:
            eventually(lambda: not self.states(name))
            return []
        instances = eventually(found)
        told = self.states(name)
        return sorted(instances, key=lambda each: states.index(told[each]))

    def activity(self, name: str, at: int = 0) -> dict[str, Any]:
        """An activity of a group; 0 is the newest."""
        return self.scaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"][at]

    def machine(self, instance: str) -> dict[str, Any]:
        return self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]

    def state(self, instance: str) -> str:
        return self.machine(instance)["State"]["Name"]

    def run(self, subnet: int = 0, **about: Any) -> str:
        """A machine of its own that runs."""
        wanted = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1, **about}
        made = self.ec2.run_instances(SubnetId=self.network.subnets[subnet], **wanted)["Instances"][0]["InstanceId"]
        eventually(lambda: self.state(made) == "running")
        return made

    def advance(self, seconds: float) -> None:
        """Puts the account's clock forward."""
        self.call(f"clock/advance?seconds={seconds}")

    def call(self, route: str) -> Any:
        """Asks one of the project's own routes."""
        with urllib.request.urlopen(f"{self.aws.account.endpoint}/fleetstream/{route}") as answer:  # noqa: S310 (http)
            return json.load(answer)

    def remove(self, name: str) -> None:
        """Takes a group away, and waits until its machines are gone."""
        if self.group(name) is not None:
            self.scaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
            eventually(lambda: self.group(name) is None)


def open_fleet(aws: Aws) -> FleetStage:
    """The account with a network."""
    return FleetStage(aws, make_network(aws.client("ec2")))


def made_groups(fleet: FleetStage) -> Iterator[Callable[..., str]]:
    """Makes groups as `FleetStage.make_group` does, and ends them."""
    names: list[str] = []

    def make(template: str, **about: Any) -> str:
        names.append(fleet.make_group(template, **about))
        return names[-1]

    yield make
    for name in names:
        fleet.remove(name)
