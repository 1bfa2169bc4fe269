"""Prefix lists: their size, their versions, and what they count in the groups that name them."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.network import Network, make_network

pytestmark = pytest.mark.xdist_group("aws-prefix-lists")  # one AWS process for all of them


@pytest.fixture(scope="module")
def ec2(aws: Aws) -> Any:
    return aws.client("ec2")


@pytest.fixture(scope="module")
def network(ec2: Any) -> Network:
    return make_network(ec2)


def prefix_list(ec2: Any, size: int = 3, *cidrs: str) -> str:
    entries = [{"Cidr": cidr, "Description": "d"} for cidr in cidrs]
    made = ec2.create_managed_prefix_list(
        PrefixListName="clients", AddressFamily="IPv4", MaxEntries=size, Entries=entries
    )
    return made["PrefixList"]["PrefixListId"]


def told(ec2: Any, identifier: str) -> dict[str, Any]:
    return ec2.describe_managed_prefix_lists(PrefixListIds=[identifier])["PrefixLists"][0]


def admit(ec2: Any, group: str, identifier: str, port: int = 443) -> str:
    permission = {
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        "PrefixListIds": [{"PrefixListId": identifier}],
    }
    made = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])
    return made["SecurityGroupRules"][0]["SecurityGroupRuleId"]


def refused(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(*arguments, **options)
    return error.value.response["Error"]["Code"]


def test_entries_make_versions_and_keep_the_name(ec2: Any) -> None:
    made = prefix_list(ec2, 3, "10.0.0.0/16")
    ec2.modify_managed_prefix_list(
        PrefixListId=made,
        CurrentVersion=1,
        AddEntries=[{"Cidr": "10.1.0.0/16", "Description": "new"}],
        RemoveEntries=[{"Cidr": "10.0.0.0/16"}],
    )
    entries = ec2.get_managed_prefix_list_entries(PrefixListId=made)["Entries"]
    assert entries == [{"Cidr": "10.1.0.0/16", "Description": "new"}]
    about = told(ec2, made)
    assert (about["Version"], about["PrefixListName"], about["State"]) == (2, "clients", "modify-complete")
    ec2.delete_managed_prefix_list(PrefixListId=made)
    assert refused(ec2.describe_managed_prefix_lists, PrefixListIds=[made]) == "InvalidPrefixListID.NotFound"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"AddEntries": [{"Cidr": f"10.{at}.0.0/16"} for at in range(1, 4)]}, "PrefixListMaxEntriesExceeded"),
        ({"AddEntries": [{"Cidr": "10.1.0.0/16"}], "CurrentVersion": 7}, "PrefixListVersionMismatch"),
        (
            {"AddEntries": [{"Cidr": "10.1.0.0/16"}], "RemoveEntries": [{"Cidr": "10.1.0.0/16"}]},
            "InvalidParameterValue",
        ),
        ({"AddEntries": [{"Cidr": "10.1.0.0/16"}], "MaxEntries": 5}, "InvalidParameterCombination"),
        ({"MaxEntries": 1001}, "InvalidParameterValue"),
    ],
    ids=["full", "version", "both", "size-too", "large"],
)
def test_a_change_that_cannot_be_is_refused(ec2: Any, change: dict[str, Any], code: str) -> None:
    made = prefix_list(ec2, 3, "10.0.0.0/16")
    assert refused(ec2.modify_managed_prefix_list, PrefixListId=made, **change) == code
    assert told(ec2, made)["Version"] == 1
    ec2.delete_managed_prefix_list(PrefixListId=made)


def test_more_entries_than_it_holds_make_no_list(ec2: Any) -> None:
    assert refused(prefix_list, ec2, 1, "10.0.0.0/16", "10.1.0.0/16") == "PrefixListMaxEntriesExceeded"


def test_a_list_counts_with_its_size_in_the_groups_quota(ec2: Any, network: Network) -> None:
    made = prefix_list(ec2, 30, "10.0.0.0/16")
    rules = [admit(ec2, network.group, made, port) for port in (443, 444)]
    assert refused(admit, ec2, network.group, made, 445) == "RulesPerSecurityGroupLimitExceeded"

    ec2.modify_managed_prefix_list(PrefixListId=made, MaxEntries=31)
    about = told(ec2, made)
    assert (about["State"], about["MaxEntries"]) == ("modify-failed", 30)
    assert network.group in about["StateMessage"]
    ec2.modify_managed_prefix_list(PrefixListId=made, MaxEntries=20)
    rules.append(admit(ec2, network.group, made, 445))

    ec2.delete_managed_prefix_list(PrefixListId=made)
    assert told(ec2, made)["State"] == "delete-failed"
    ec2.revoke_security_group_ingress(GroupId=network.group, SecurityGroupRuleIds=rules)
    ec2.delete_managed_prefix_list(PrefixListId=made)
    assert refused(told, ec2, made) == "InvalidPrefixListID.NotFound"


def test_a_rule_names_a_list_that_exists(ec2: Any, network: Network) -> None:
    assert refused(admit, ec2, network.group, "pl-12345678") == "InvalidPrefixListID.NotFound"
