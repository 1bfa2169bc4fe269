"""What the benchmark says of its figures."""

import json
from pathlib import Path

import pytest

from benchmarks import kept, publish, report
from benchmarks.measure import Round
from benchmarks.rows import ROWS, STEPS, Goal, Row
from envs.errors import FleetstreamError

MACHINE = {"processors": "2 x some", "memory": "24 GiB"}
HEADLINE = next(row for row in ROWS if row.name == "headline")
GOOD = {"within_1ms": 0.9995, "p99": 0.6, "p99_9": 1.2, "max": 4.0, "lost": 0.0, "not_acked": 0.0}


def with_rounds(folder: Path, *rounds: dict[str, float], row: Row = HEADLINE) -> kept.Kept:
    found = kept.of(row.name, {"row": row.name}, folder)
    for figures in rounds:
        found.add(Round(figures, [(0.0, 0.4, 0.6, 4.0)]), MACHINE)
    return found


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (Goal("rate", 100), 100, True),
        (Goal("rate", 100), 99.9, False),
        (Goal("max", 10, at_least=False), 10, False),
        (Goal("max", 10, at_least=False), 9.9, True),
        (Goal("lost", 0, at_least=False), 0, True),
        (Goal("lost", 0, at_least=False), 1, False),
    ],
)
def test_a_goal_is_met_or_not(goal: Goal, value: float, met: bool) -> None:
    assert goal.met({goal.figure: value}) is met


def test_names_of_rows_differ() -> None:
    names = [row.name for row in (*ROWS, *STEPS)]
    assert len(names) == len(set(names))


def test_rounds_are_kept_and_go_on(tmp_path: Path) -> None:
    with_rounds(tmp_path, GOOD, GOOD | {"p99": 0.8})
    again = kept.of("headline", {"row": "headline"}, tmp_path)
    assert [one["figures"]["p99"] for one in again.rounds] == [0.6, 0.8]
    assert again.machine == MACHINE
    again.add(Round(GOOD | {"p99": 9.0}), MACHINE)
    assert again.figures["p99"] == kept.Figure(median=0.8, low=0.6, high=9.0)
    assert len(kept.of("headline", {"row": "headline"}, tmp_path).rounds) == 3


def test_rounds_of_other_settings_do_not_count(tmp_path: Path) -> None:
    with_rounds(tmp_path, GOOD)
    assert kept.of("headline", {"row": "headline", "rate": 5}, tmp_path).rounds == []
    assert kept.of("headline", {"row": "headline"}, tmp_path, again=True).rounds == []


def test_a_broken_file_is_measured_anew(tmp_path: Path) -> None:
    found = with_rounds(tmp_path, GOOD)
    found.path.write_text(found.path.read_text()[:50])
    assert kept.of("headline", {"row": "headline"}, tmp_path).rounds == []


def test_a_figure_that_a_round_lacks_has_no_median(tmp_path: Path) -> None:
    found = with_rounds(tmp_path, GOOD | {"rdkafka_rate": 2e6}, GOOD)
    assert "rdkafka_rate" not in found.figures
    assert "p99" in found.figures


def test_verdicts_hold_medians_against_goals(tmp_path: Path) -> None:
    found = with_rounds(tmp_path, GOOD, GOOD | {"max": 30.0}, GOOD | {"max": 50.0})
    lines = {name: (text, goal, verdict) for name, text, goal, verdict in report.verdicts(HEADLINE, found.figures)}
    assert lines["max, ms"] == ("30.00 (4.00 to 50.00)", "< 10.00", "missed")
    assert lines["within 1 ms"] == ("99.95%", ">= 99.90%", "reached")
    assert lines["lost"] == ("0", "0", "reached")
    assert lines["p99, ms"][1:] == ("", "")


def test_a_goal_without_its_figure_is_said_to_be_not_measured(tmp_path: Path) -> None:
    peak = next(row for row in ROWS if row.name == "peak")
    found = with_rounds(tmp_path, {"rate": 1e6, "lost": 0.0, "not_acked": 0.0}, row=peak)
    lines = {name: (text, verdict) for name, text, _, verdict in report.verdicts(peak, found.figures)}
    assert lines["of rdkafka_performance"] == ("not measured", "")
    assert lines["messages/s"] == ("1,000,000", "reached")


def test_documents_get_their_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme, document = tmp_path / "README.md", tmp_path / "performance.md"
    readme.write_text("before\n<!-- measured: begin, by make bench -->\nold\n<!-- measured: end -->\nafter\n")
    document.write_text(
        "<!-- measured: begin -->\n<!-- measured: end -->\n<!-- steps: begin -->\n<!-- steps: end -->\n"
    )
    monkeypatch.setattr(publish, "README", readme)
    monkeypatch.setattr(publish, "DOCUMENT", document)
    monkeypatch.setattr(publish, "_PICTURES", tmp_path / "pictures")
    step = STEPS[0]
    publish.write([(HEADLINE, with_rounds(tmp_path, GOOD)), (step, with_rounds(tmp_path, GOOD, row=step))])
    lines = readme.read_text().splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"
    assert "old" not in lines
    assert any(line.startswith("| 74,000 messages/s end to end | within 1 ms 99.95%<br>") for line in lines)
    assert "`headline`" in document.read_text()
    assert f"| {step.title} | 99.95% |" in document.read_text()
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["latency-by-second.svg", "steps.svg"]


def test_a_second_run_has_a_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme, document = tmp_path / "README.md", tmp_path / "performance.md"
    for path in (readme, document):
        path.write_text("<!-- measured: begin -->\n<!-- measured: end -->\n")
    monkeypatch.setattr(publish, "README", readme)
    monkeypatch.setattr(publish, "DOCUMENT", document)
    monkeypatch.setattr(publish, "_PICTURES", tmp_path / "pictures")
    first = [(HEADLINE, with_rounds(tmp_path / "a", GOOD))]
    publish.write(first, [(HEADLINE, with_rounds(tmp_path / "b", GOOD | {"within_1ms": 0.97}))])
    for path in (readme, document):
        assert "in a second run" in path.read_text()
        assert "99.95%" in path.read_text()
        assert "97.00% missed" in path.read_text()


def test_a_document_without_a_place_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing\n")
    monkeypatch.setattr(publish, "README", readme)
    monkeypatch.setattr(publish, "_PICTURES", tmp_path / "pictures")
    with pytest.raises(FleetstreamError, match=r"README\.md has no place"):
        publish.write([(HEADLINE, with_rounds(tmp_path, GOOD))])


def test_what_is_kept_is_json(tmp_path: Path) -> None:
    found = json.loads(with_rounds(tmp_path, GOOD).path.read_bytes())
    assert found["rounds"][0]["figures"] == GOOD
    assert found["rounds"][0]["seconds"] == [[0.0, 0.4, 0.6, 4.0]]


def test_a_row_is_told_as_a_multiple_of_the_one_beside_it(tmp_path: Path) -> None:
    tls = next(row for row in ROWS if row.name == "tls")
    measured = [
        (HEADLINE, with_rounds(tmp_path, GOOD)),
        (tls, with_rounds(tmp_path, GOOD | {"p99": 1.5}, row=tls)),
    ]
    said = {row.name: lines for row, _, lines in report.lines(measured)}
    assert ("p99, ms, of that of `headline`", "2.50x", "", "") in said["tls"]
    # Alone there is nothing to compare it with.
    ((_, _, alone),) = report.lines(measured[1:])
    assert all("headline" not in name for name, *_ in alone)
