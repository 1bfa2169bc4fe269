"""The addresses of hosted agents: exactly those that Microsoft publishes, and no more than can be rules."""

import json
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, collapse_addresses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from envs import agents
from envs.cli import app
from envs.errors import FleetstreamError, UsageError
from infra.sections import ingress


def document(regions: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    def tag(name: str, region: str, prefixes: Sequence[str]) -> dict[str, Any]:
        properties = {
            "changeNumber": 12,
            "region": region,
            "regionId": 0,
            "platform": "Azure",
            "systemService": "",
            "addressPrefixes": list(prefixes),
            "networkFeatures": None,
        }
        return {"name": name, "id": name, "properties": properties}

    values = [tag("AzureCloud", "", [prefix for each in regions.values() for prefix in each])]
    values.append(tag("AzureDevOps", "", ["20.37.158.0/23"]))
    values += [tag(f"AzureCloud.{region}", region, prefixes) for region, prefixes in regions.items()]
    return {"changeNumber": 345, "cloud": "Public", "values": values}


def published(folder: Path, content: Any) -> Path:
    path = folder / "ServiceTags_Public_20260105.json"
    path.write_text(json.dumps(content))
    return path


UK = {"uksouth": ["51.140.0.0/17", "51.140.128.0/17", "2603:1020:700::/46"], "ukwest": ["51.137.128.0/18"]}


def test_the_whole_geography_as_settings(tmp_path: Path) -> None:
    path = published(tmp_path, document({**UK, "westeurope": ["13.69.0.0/17"]}))
    ran = CliRunner().invoke(app, ["cluster", "agents", str(path), "--geography", "united kingdom"])
    assert ran.exit_code == 0, ran.output
    written = yaml.safe_load(ran.stdout)
    found = ingress.Ingress.model_validate_json(json.dumps(written["ingress"]))
    assert [each.cidr for each in found.public_management] == ["51.137.128.0/18", "51.140.0.0/16"]
    assert "change 345" in ran.stdout
    assert "2 of the 60 rules" in ran.stdout


def test_regions_instead_of_a_geography(tmp_path: Path) -> None:
    tags = agents.read(published(tmp_path, document(UK)))
    found = agents.select(tags, None, ("UKWest", "ukwest"))
    assert (found.regions, found.ranges) == (("ukwest",), (IPv4Network("51.137.128.0/18"),))


blocks = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False),
    st.integers(min_value=20 << 24, max_value=(20 << 24) + 4095),
    st.integers(min_value=20, max_value=32),
)


@given(st.lists(blocks, max_size=30), st.lists(blocks, max_size=30))
def test_exactly_the_published_addresses_in_the_fewest_ranges(
    south: list[IPv4Network], west: list[IPv4Network]
) -> None:
    tags = agents.Tags(Path("tags"), 1, {"uksouth": (*map(str, south), "::/0"), "ukwest": tuple(map(str, west))})
    found = agents.select(tags, "United Kingdom", ())

    def addresses(ranges: Sequence[IPv4Network]) -> set[int]:
        return {number for each in ranges for number in range(int(each[0]), int(each[-1]) + 1)}

    assert addresses(found.ranges) == addresses([*south, *west])
    assert len(found.ranges) == len(list(collapse_addresses([*south, *west])))
    assert sum(each.num_addresses for each in found.ranges) == len(addresses(found.ranges))


@pytest.mark.parametrize(("count", "refused"), [(60, False), (61, True)])
def test_more_ranges_than_rules_are_refused_with_numbers(tmp_path: Path, count: int, refused: bool) -> None:
    many = [f"20.{number}.0.0/24" for number in range(count)]
    path = published(tmp_path, document({"uksouth": many[:30], "ukwest": many[30:]}))
    kept = tmp_path / "ranges.json"
    ran = CliRunner().invoke(
        app, ["cluster", "agents", str(path), "--geography", "United Kingdom", "--json", str(kept)]
    )
    assert len(json.loads(kept.read_text())["ranges"]) == count
    if refused:
        assert isinstance(ran.exception, FleetstreamError)
        assert "has 61 ranges" in str(ran.exception)
        assert "takes 60 rules" in str(ran.exception)
        assert "self-hosted agent" in str(ran.exception)
    else:
        assert ran.exit_code == 0, ran.output


def test_the_quota_and_the_limits_are_those_of_the_program() -> None:
    assert agents.RULES_PER_GROUP == ingress.RULES_PER_GROUP
    widest = f"20.0.0.0/{agents.WIDEST}"
    assert ingress.PublicClient(cidr=widest, description="x").cidr == widest


@pytest.mark.parametrize("prefix", ["10.0.0.0/16", "16.0.0.0/7"])
def test_ranges_that_no_public_listener_may_be_open_to(tmp_path: Path, prefix: str) -> None:
    tags = agents.read(published(tmp_path, document({"ukwest": [prefix]})))
    with pytest.raises(FleetstreamError, match=prefix):
        agents.require_room(agents.select(tags, None, ("ukwest",)))


def without(key: str) -> dict[str, Any]:
    found = document(UK)
    holder: Any = found
    *path, last = key.split(".")
    for part in path:
        holder = holder[int(part)] if part.isdigit() else holder[part]
    del holder[last]
    return found


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([], "no changeNumber"),
        (without("changeNumber"), "no changeNumber"),
        (without("values"), "no values"),
        (document(UK) | {"cloud": "China"}, "of the cloud China"),
        (document(UK) | {"values": [3]}, r"no values\[0\]\.name"),
        (without("values.2.properties"), r"no values\[2\]\.properties"),
        (without("values.2.properties.addressPrefixes"), r"no values\[2\]\.properties\.addressPrefixes"),
        (document({}), r"no tag AzureCloud\.<region>"),
    ],
)
def test_a_file_that_is_something_else_is_told_what_it_lacks(tmp_path: Path, content: Any, told: str) -> None:
    with pytest.raises(FleetstreamError, match=told):
        agents.read(published(tmp_path, content))


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "tags.json"
    path.write_text("<html>")
    with pytest.raises(FleetstreamError, match="cannot be read as JSON"):
        agents.read(path)


def test_a_region_or_geography_that_is_not_there(tmp_path: Path) -> None:
    tags = agents.read(published(tmp_path, document(UK)))
    with pytest.raises(FleetstreamError, match="no tag for northeurope, westeurope"):
        agents.select(tags, "Europe", ())
    with pytest.raises(UsageError, match="no geography 'Atlantis'"):
        agents.select(tags, "Atlantis", ())
    with pytest.raises(FleetstreamError, match="'nonsense' does not appear"):
        agents.select(agents.Tags(Path("t"), 1, {"ukwest": ("nonsense",)}), None, ("ukwest",))
    for geography, regions in ((None, ()), ("Europe", ("ukwest",))):
        with pytest.raises(UsageError, match="--geography"):
            agents.select(tags, geography, regions)
