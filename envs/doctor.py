"""`fleetstream doctor`: a table of what the toolchain found, and of what to do about what is missing."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from envs.toolchain import Finding, examine


def doctor(console: Console | None = None) -> bool:
    """Prints what was found where, and what to do about the rest. Returns whether everything is in order."""
    console = console or Console()
    findings = examine()
    if console.is_terminal:
        console.print(_table(findings))
    else:
        for finding in findings:
            console.print(_line(finding), highlight=False, soft_wrap=True)
    for finding in findings:
        for reason in finding.passed_over:
            console.print(Text(f"{finding.name}: passed over {reason}"), highlight=False, soft_wrap=True)
    wrong = [finding.name for finding in findings if not finding.ok]
    verdict = f"To be put right: {', '.join(wrong)}." if wrong else "Everything is there."
    console.print(Text(verdict), style="bold red" if wrong else "bold green", soft_wrap=True)
    return not wrong


def _table(findings: list[Finding]) -> Table:
    table = Table("Tool", "", "Version", "Where, or what to do", box=None, header_style="bold", pad_edge=False)
    for finding in findings:
        state = Text("ok", style="green") if finding.ok else Text("missing", style="red")
        # Folded, never cut: a path or a remedy is there to be copied.
        place = Text(finding.where if finding.ok else finding.remedy, overflow="fold")
        table.add_row(Text(finding.name), state, Text(finding.version, overflow="fold"), place)
    return table


def _line(finding: Finding) -> Text:
    state = "ok" if finding.ok else "missing"
    return Text(
        f"{finding.name:<26} {state:<8} {finding.version:<22} {finding.where if finding.ok else finding.remedy}"
    )
