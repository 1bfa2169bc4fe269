"""Settings: what is tracked is right, and every mistake is told at once, with its place and a remedy."""

import json
from typing import Any

import pytest
from declared import ROOT, stack_config

from infra import settings
from infra.settings import KEY, SettingsError, load

TRACKED = {"dev", "prod", "sandbox", "staging"}
ENVIRONMENTS = sorted(
    name
    for path in (ROOT / "envs").glob("Pulumi.*.yaml")
    # Tests that run at the same time have copies such as prod-t1a2b3, which no stack of one's own may be called.
    if (name := path.name.split(".")[1]) in TRACKED or name.partition("-")[0] not in TRACKED | {"broken"}
)


def good() -> dict[str, Any]:
    return json.loads(stack_config("dev")[KEY])


def problems(chosen: Any, **config: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load({"aws:region": "eu-central-1", KEY: json.dumps(chosen), **config})
    return list(caught.value.problems)


def with_value(path: str, value: Any) -> dict[str, Any]:
    chosen = good()
    *parents, last = path.split(".")
    section = chosen
    for parent in parents:
        section = section.setdefault(parent, {})
    section[last] = value
    return chosen


def test_the_four_environments_are_there() -> None:
    # Developers' own stacks may be beside them.
    assert {"dev", "prod", "sandbox", "staging"} <= set(ENVIRONMENTS)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_tracked_environment_loads(name: str) -> None:
    loaded, region = load(stack_config(name))
    assert region == "eu-central-1"
    assert loaded.owner


def test_environments_have_ranges_of_their_own() -> None:
    ranges = {load(stack_config(name))[0].network.cidr for name in ENVIRONMENTS}
    assert len(ranges) == len(ENVIRONMENTS)


def test_only_the_sandbox_is_bound_to_the_emulated_account() -> None:
    accounts = {name: load(stack_config(name))[0].account for name in ENVIRONMENTS}
    assert accounts.pop("sandbox") == "123456789012"
    assert set(accounts.values()) == {None}


def test_production_keeps_what_it_has() -> None:
    operations = load(stack_config("prod"))[0].operations
    assert operations.protect_data
    assert not operations.disposable


def test_five_mistakes_are_reported_at_once() -> None:
    chosen = good()
    chosen["network"]["cidr"] = "8.8.0.0/16"
    chosen["streaming"]["brokers"] = 4
    chosen["archive"]["buffer_mb"] = 500
    chosen["streeming"] = {}
    del chosen["owner"]
    found = problems(chosen)
    assert sorted(problem.split(":")[1].strip() for problem in found) == [
        "settings.archive.buffer_mb",
        "settings.network.cidr",
        "settings.owner",
        "settings.streaming.brokers",
        "settings.streeming",
    ]


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("account", "1234", "no account number"),
        ("account", 123456789012, "in quotes"),
        ("owner", "", "at least 1"),
        ("network.cidr", "10.20.0.0", "/32 does not fit"),
        ("network.cidr", "10.20.1.0/16", "no IPv4 range"),
        ("network.cidr", "ten", "no IPv4 range"),
        ("network.cidr", "100.64.0.0/16", "not private"),
        ("network.cidr", "10.0.0.0/8", "/8 does not fit"),
        ("network.cidr", "10.20.0.0/23", "/23 does not fit"),
        ("network.zones", ["eu-central-1a", "eu-central-1b"], "2 zones"),
        ("network.zones", ["eu-central-1a"] * 3, "named twice"),
        ("network.zones", ["eu-west-1a", "eu-west-1b", "eu-west-1c"], "not in aws:region eu-central-1"),
        ("network.interface_endpoints", ["kafka", "s4"], "'kafka', 'sts', 'ssm'"),
        ("network.interface_endpoints", ["kafka", "sts", "kafka"], "kafka is named twice"),
        ("network.nat", "two", "'none', 'one' or 'per_zone'"),
        ("streaming.kafka_version", "3.5.1", "not one of 3.6.0"),
        ("streaming.instance_type", "kafka.t3.small", "no multi-VPC connectivity"),
        ("streaming.instance_type", "kafka.m7g.huge", "not one of kafka.m7g.large"),
        ("streaming.brokers", 4, "multiple of 3"),
        ("streaming.brokers", 3.5, "valid integer"),
        ("streaming.storage_gb", 0, "disk of each broker"),
        ("streaming.retention_hours", 0, "1 to 8760"),
        ("streaming.partitions.telemetry", 0, "1 to 1000"),
        ("streaming.monitoring", "ALL", "PER_BROKER"),
        ("archive.buffer_mb", 129, "1 to 128 MB"),
        ("archive.buffer_mb", "5", "found '5'"),
        ("archive.buffer_seconds", 901, "0 to 900 s"),
        ("archive.gate_buffer_mb", 3.5, "0.2 to 3 MB"),
        ("archive.infrequent_access_days", 10, "S3's 30"),
        ("functions.archive_gate", {"timeout_seconds": 301}, "300 s at most"),
        ("functions.archive_gate.memory_mb", 64, "128 to 10240"),
        ("filesystem.infrequent_access_days", 31, "not one of 1, 7, 14"),
        ("filesystem.archive_days", 30, "after 30"),
        ("monitoring.alarm_emails", ["team"], "no mail address"),
        ("monitoring.alarm_emails", ["a@example.com", "a@example.com"], "named twice"),
        ("monitoring.disk_percent", 100, "1 to 99 %"),
        ("ingress.traffic", [], "1 to 50 listeners"),
        ("ingress.traffic", [{"port": 443, "target_port": 1}, {"port": 443, "target_port": 2}], "443 is named twice"),
        ("ingress.management_clients_max", 30, "1 to 29"),
        ("ingress.management_clients", [{"cidr": f"10.{n}.0.0/16", "description": "x"} for n in range(11)], "into"),
        ("ingress.management_clients", [{"cidr": "10.0.0.0/8", "description": "x"}] * 2, "10.0.0.0/8 is named twice"),
        ("operations.log_retention_days", 2, "not one of 1, 3, 5"),
        ("operations.key_deletion_days", 31, "7 to 30"),
        ("fleet.seeds", 4, "use an odd number"),
        ("fleet.seeds", 11, "less than or equal to 9"),
        ("fleet.seed_instance_type", "m7g.large", "ARM processor"),
        ("fleet.worker_instance_type", "large", "no instance type"),
        ("fleet.service_fabric_version", "10.1", "all four numbers"),
        ("fleet.worker_cpu_percent", 0, "how busy workers are kept"),
        ("fleet.hooks.worker_launch_seconds", 7201, "30 to 7200 s"),
        ("fleet.scale_in.poll_seconds", 901, "1 to 900 s"),
        ("fleet.scale_in.sweep_minutes", 0, "1 to 60 min"),
        ("fleet.scale_in", {"timeout_seconds": 150}, "a call that died is repeated after 900 s"),
        ("fleet.snapshots.every_hours", 5, "not one of 1, 2, 3, 4, 6, 8, 12, 24"),
        ("fleet.snapshots.at", "24:00", "no time of day"),
        ("fleet.file_server.directory_id", "corp.example.com", "no directory's id"),
        ("fleet.file_server.throughput_mb", 8, "not one of 32"),
        ("fleet.file_server.storage_gb", 31, "32 to 65536"),
        ("ingress.public_management", [{"cidr": "10.0.0.0/16", "description": "x"}], "not on the internet"),
        ("ingress.public_management", [{"cidr": "0.0.0.0/0", "description": "x"}], "wider than a /8"),
        ("ingress.public_management", [{"cidr": "20.37.158.0/23", "description": "x"}] * 2, "named twice"),
        (
            "ingress.public_management",
            [{"cidr": f"20.37.{n}.0/24", "description": "x"} for n in range(61)],
            "61 ranges: a security group takes 60 rules",
        ),
        ("operations.secret_recovery_days", 6, "takes 7 to 30, or 0"),
        ("operations.protect_data", True, "both protected and disposable"),
        ("operations.disposable", "yes", "found 'yes'"),
    ],
)
def test_a_mistake_names_its_place_and_the_remedy(path: str, value: Any, told: str) -> None:
    (problem,) = problems(with_value(path, value))
    assert problem.startswith(f"{KEY}.{path}")
    assert told in problem


def test_a_hook_that_is_shorter_than_a_dead_call_takes_to_come_again_is_refused() -> None:
    (problem,) = problems(with_value("fleet.hooks.worker_terminate_seconds", 40))
    assert problem.startswith(f"{KEY}.fleet.scale_in")
    assert "is given up after 40 s without a sign" in problem


@pytest.mark.parametrize(
    ("cidr", "told"),
    [
        ("0.0.0.0/0", "wider than a /8"),
        ("8.0.0.0/7", "wider than a /8"),
        ("8.8.8.0/24", "not private"),
        ("172.16.0.0/11", "no IPv4 range"),
        ("office", "no IPv4 range"),
    ],
)
def test_management_is_for_private_networks_only(cidr: str, told: str) -> None:
    (problem,) = problems(with_value("ingress.management_clients", [{"cidr": cidr, "description": "office"}]))
    assert problem.startswith(f"{KEY}.ingress.management_clients.0.cidr")
    assert told in problem


@pytest.mark.parametrize("port", [22, 3389, 19000, 19080])
def test_what_machines_are_administered_by_is_no_traffic(port: int) -> None:
    (problem,) = problems(with_value("ingress.traffic", [{"port": port, "target_port": 8443}]))
    assert "never open to the world" in problem


def test_the_archive_is_not_deleted_before_it_is_moved() -> None:
    chosen = with_value("archive.infrequent_access_days", 90)
    chosen["archive"]["expiration_days"] = 60
    (problem,) = problems(chosen)
    assert "after 90" in problem


def test_a_misspelled_key_gets_a_suggestion() -> None:
    (problem,) = problems(with_value("streaming.retention_hour", 3))
    assert problem.startswith(f"{KEY}.streaming.retention_hour: unknown key, did you mean retention_hours?")


def test_keys_beside_the_settings_are_refused() -> None:
    (problem,) = problems(good(), **{"fleetstream:setings": "x"})
    assert problem.startswith("fleetstream:setings: unknown key, did you mean fleetstream:settings?")


def test_other_namespaces_are_none_of_our_business() -> None:
    load({**stack_config("dev"), "aws:defaultTags": "x", "pulumi:tags": "x"})


@pytest.mark.parametrize("text", ["yes", "[1]", '"x"'])
def test_settings_that_are_no_structure(text: str) -> None:
    with pytest.raises(SettingsError, match="fleetstream:settings"):
        load({"aws:region": "eu-central-1", KEY: text})


def test_nothing_at_all() -> None:
    with pytest.raises(SettingsError) as caught:
        load({})
    assert [problem.split(": ")[0] for problem in caught.value.problems] == ["aws:region", KEY]


def test_settings_do_not_change_after_loading() -> None:
    loaded, _ = load(stack_config("dev"))
    with pytest.raises(ValueError, match="frozen"):
        loaded.network.cidr = "10.0.0.0/16"  # pyright: ignore[reportAttributeAccessIssue]


def test_every_setting_says_what_it_is() -> None:
    def undescribed(model: Any, path: str = "") -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            if not field.description:
                found.append(f"{path}{name}")
            if isinstance(field.annotation, type) and issubclass(field.annotation, settings.BaseModel):
                found += undescribed(field.annotation, f"{path}{name}.")
        return found

    assert undescribed(settings.Settings) == []


def test_without_nat_what_functions_call_has_an_endpoint_inside() -> None:
    chosen = good()
    chosen["network"]["nat"] = "none"
    (problem,) = problems(
        {**chosen, "network": {**chosen["network"], "interface_endpoints": ["kafka", "sts", "sqs"]}}
    )
    assert "without NAT nothing inside reaches autoscaling, ec2, secretsmanager" in problem


def test_as_many_ranges_as_rules_fit_may_manage_over_the_internet() -> None:
    ranges = [{"cidr": f"20.37.{n}.0/24", "description": "x"} for n in range(60)]
    config = {"aws:region": "eu-central-1", KEY: json.dumps(with_value("ingress.public_management", ranges))}
    assert len(load(config)[0].ingress.public_management) == 60
