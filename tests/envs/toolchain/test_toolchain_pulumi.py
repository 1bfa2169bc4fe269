"""Which Pulumi is taken, and the ways to one: PATH, the official installer, Go modules."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_machine import Lines, Machine

from envs.toolchain import pulumi, versions
from envs.toolchain.errors import ToolchainError
from envs.toolchain.installer import Installer

UNREACHABLE = "http://127.0.0.1:1/install.sh"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The official site on this machine: what it answers by path; it is empty at first."""
    answers: dict[str, str] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Keeps the test's output clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(pulumi, "INSTALLER_URL", f"http://127.0.0.1:{server.server_port}/install.sh")
    yield answers
    server.shutdown()
    server.server_close()


def test_a_recent_pulumi_with_its_host_is_taken(machine: Machine) -> None:
    path = machine.pulumi("3.260.1")
    found = pulumi.search().found
    assert found is not None
    assert (found.path, found.version) == (path, "3.260.1")


@pytest.mark.parametrize("version", ["2.25.2", "3.9.0", "3.199.9"])
def test_an_old_pulumi_is_passed_over_by_name(machine: Machine, version: str) -> None:
    path = machine.pulumi(version)
    search = pulumi.search()
    assert search.found is None
    assert search.passed_over == (f"{path}: version {version}, where 3.200.0 is needed",)


def test_a_pulumi_without_its_python_host_is_passed_over(machine: Machine) -> None:
    path = machine.pulumi("3.260.1", host=False)
    search = pulumi.search()
    assert search.found is None
    assert search.passed_over == (
        f"{path}: its Python language host, {pulumi.HOST}, is neither beside it nor on PATH",
    )


def test_the_host_may_be_elsewhere_on_path(machine: Machine) -> None:
    engine = machine.pulumi("3.260.1", machine.root / "engine", host=False)
    machine.link(engine, "pulumi")
    machine.script(pulumi.HOST, "exit 1")
    assert pulumi.search().found is not None
    assert pulumi.language_host(engine) == machine.bin / pulumi.HOST


def test_a_broken_pulumi_is_passed_over_for_the_next(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = machine.script("pulumi", "echo 'cannot execute binary file' >&2; exit 126", machine.root / "broken")
    monkeypatch.setenv("PATH", f"{broken.parent}:{machine.bin}")
    machine.pulumi("3.260.1")
    search = pulumi.search()
    assert search.found is not None
    assert search.passed_over == (f"{broken}: it does not run: cannot execute binary file",)


def test_the_official_installer_is_used_where_it_can_be_reached(
    machine: Machine, lines: Lines, site: dict[str, str]
) -> None:
    site["/install.sh"] = """
        [ "$1 $2" = "--no-edit-path --install-root" ] || exit 9
        mkdir -p "$3/bin"
        for name in pulumi pulumi-language-python pulumi-language-python-exec; do
            printf '#!/bin/sh\\necho v%s\\n' "$5" > "$3/bin/$name"
            chmod +x "$3/bin/$name"
        done
        """

    path = pulumi.ensure(Installer(lines))

    assert path == machine.cache / f"pulumi-{versions.PULUMI}" / "pulumi"
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "installed.json",
        "pulumi",
        "pulumi-language-python",
        "pulumi-language-python-exec",
    ]
    found = pulumi.search().found
    assert found is not None
    assert (found.path, found.version) == (path, versions.PULUMI)


@pytest.mark.parametrize(
    ("script", "reason"),
    [(None, "answer 404"), ("echo 'error: failed to download' >&2; exit 1", "the official installer failed")],
)
def test_without_the_official_installer_it_is_built(
    whole_machine: Machine, lines: Lines, site: dict[str, str], script: str | None, reason: str
) -> None:
    if script is not None:
        site["/install.sh"] = script

    path = pulumi.ensure(Installer(lines))

    [said] = [line for line in lines.kept if "cannot be used" in line]
    assert reason in said
    assert "building from Go modules instead" in said
    assert "\n" not in said
    assert whole_machine.happened() == [f"build {pulumi.HOST}", "build pulumi"]
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "installed.json",
        "pulumi",
        "pulumi-language-python",
        "pulumi-language-python-exec",
    ]
    assert not (whole_machine.cache / "build-pulumi").exists(), "the compiler's caches stay behind"
    assert any("1 of 1 packages compiled" in detail for detail in lines.details)


def test_an_unreachable_site_is_said_in_one_line(
    whole_machine: Machine, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulumi, "INSTALLER_URL", UNREACHABLE)
    pulumi.ensure(Installer(lines))
    assert [line for line in lines.kept if UNREACHABLE in line and "\n" not in line]


def test_an_old_go_is_passed_over_and_the_wheel_is_used(
    whole_machine: Machine, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulumi, "INSTALLER_URL", UNREACHABLE)
    recent = (whole_machine.bin / "go").rename(whole_machine.root / "recent-go")
    whole_machine.script("go", "echo go version go1.19.8 linux/amd64")
    uv = whole_machine.script(
        "uv", f'while [ "$1" != --target ]; do shift; done; mkdir -p "$2/go/bin"; cp {recent} "$2/go/bin/go"'
    )
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(uv))

    pulumi.ensure(Installer(lines))

    needed = versions.text(versions.GO_MINIMUM)
    assert f"Go: passed over {whole_machine.bin / 'go'}: 1.19.8, where {needed} is needed" in lines.kept
    assert whole_machine.happened() == [f"build {pulumi.HOST}", "build pulumi"]


def test_a_failed_build_shows_the_compilers_words_and_leaves_nothing_installed(
    whole_machine: Machine, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulumi, "INSTALLER_URL", UNREACHABLE)
    whole_machine.script(
        "go",
        'case "$1" in version) echo go version go1.99.0 linux/amd64;; '
        "*) echo 'dial tcp: lookup proxy.golang.org: no such host'; exit 1;; esac",
    )

    with pytest.raises(ToolchainError, match=r"lookup proxy\.golang\.org") as caught:
        pulumi.ensure(Installer(lines))

    assert "Check that the Go module proxy" in str(caught.value)
    assert pulumi.search().found is None
    assert not list(whole_machine.cache.glob("pulumi-*"))


def test_no_room_for_the_build_is_said_before_it_starts(
    whole_machine: Machine, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulumi, "INSTALLER_URL", UNREACHABLE)
    monkeypatch.setattr(pulumi, "_BUILD_ROOM", 2**60)
    with pytest.raises(ToolchainError, match="set XDG_CACHE_HOME to a directory on a disk with more room"):
        pulumi.ensure(Installer(lines))
    assert whole_machine.happened() == []


def test_sums_of_every_module_are_at_hand() -> None:
    sums = Path(pulumi.__file__).parent / "go_sums"
    engine, host = (sums / f"{name}.sum" for name in ("pulumi", pulumi.HOST))
    assert f"github.com/pulumi/pulumi/pkg/v3 v{versions.PULUMI} h1:" in engine.read_text()
    assert f"github.com/pulumi/pulumi/sdk/v3 v{versions.PULUMI_LANGUAGE_HOST} h1:" in host.read_text()
