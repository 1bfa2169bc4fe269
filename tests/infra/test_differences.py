"""The table of what differs between environments."""

from declared import ROOT

from infra import differences


def test_the_page_is_what_the_settings_make() -> None:
    assert (ROOT / "envs" / "README.md").read_text() == differences.page(), "run `make tables`"


def test_what_differs_is_shown_and_what_does_not_is_left_out() -> None:
    rows = [line.split(" | ") for line in differences.page().splitlines() if line.startswith("| `")]
    by_setting = {row[0].strip("| `"): row[1:5] for row in rows}
    assert by_setting["network.nat"] == [differences.load(name).network.nat for name in differences.ENVIRONMENTS]
    assert len(set(by_setting["network.cidr"])) == len(differences.ENVIRONMENTS)
    assert all(len(set(values)) > 1 for values in by_setting.values())
