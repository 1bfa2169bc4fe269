"""Waivers: each with a rule, a resource, a reason and a last day, or not at all."""

from datetime import date
from pathlib import Path

import pytest
from declared import ROOT

from infra.waivers import WaiverError, load

GOOD = "{rule: kms-rotation, resource: old-key, reason: imported key material, expires: 2030-12-31}"


def written(folder: Path, text: str) -> Path:
    path = folder / "waivers.yaml"
    path.write_text(text)
    return path


def test_the_tracked_file_is_good() -> None:
    load(ROOT / "infra" / "waivers.yaml")


def test_a_waiver_covers_what_it_names(tmp_path: Path) -> None:
    (waiver,) = load(written(tmp_path, f"waivers: [{GOOD}]"))
    assert waiver.expires == date(2030, 12, 31)
    assert waiver.covers("kms-rotation", "old-key")
    assert not waiver.covers("kms-rotation", "new-key")
    assert not waiver.covers("msk-tls", "old-key")


def test_a_pattern_covers_a_few(tmp_path: Path) -> None:
    (waiver,) = load(written(tmp_path, f"waivers: [{GOOD.replace('old-key', 'old-*')}]"))
    assert waiver.covers("kms-rotation", "old-one")
    assert not waiver.covers("kms-rotation", "an-old-one")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("kms-rotation", "kms-rotatoin"), "did you mean kms-rotation?"),
        (("kms-rotation", "qqq"), "rules are "),
        (("old-key", '"*"'), "not for all"),
        (("imported key material", "because"), "at least 10"),
        (("2030-12-31", "soon"), "valid date"),
        ((", expires: 2030-12-31", ""), "Field required"),
        (("rule:", "extra: 1, rule:"), "Extra inputs"),
    ],
)
def test_a_mistake_is_refused_with_its_place(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    path = written(tmp_path, f"waivers: [{GOOD}, {GOOD.replace(*change)}]")
    with pytest.raises(WaiverError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert problem.startswith("waivers.yaml: waivers.1")
    assert told in problem


@pytest.mark.parametrize("text", ["waivers: {", "waiver: []", "- 1"])
def test_a_file_of_another_form(tmp_path: Path, text: str) -> None:
    with pytest.raises(WaiverError, match=r"waivers\.yaml"):
        load(written(tmp_path, text))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(WaiverError, match="cannot be read"):
        load(tmp_path / "waivers.yaml")
