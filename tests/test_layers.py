"""Which way dependencies point, read from the syntax trees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("analytics", "artifacts", "benchmarks", "envs", "infra", "services")

# What a package may import of this project besides itself, and which libraries it must do without.
ALLOWED = {
    "services": set(),
    "analytics": {"services.contract"},
    "artifacts": set(),
    "infra": {"services.contract", "artifacts"},
    "envs": {"services", "analytics", "artifacts"},
    "benchmarks": {"services", "envs"},
}
FORBIDDEN = {
    "services": {"pulumi", "pulumi_aws", "pyspark", "moto"},
    "analytics": {"pulumi", "pulumi_aws", "moto"},
    "artifacts": {"pulumi", "pulumi_aws", "pyspark", "moto", "boto3"},
    "infra": {"pyspark", "moto", "boto3"},
    "envs": {"pulumi_aws"},
    "benchmarks": {"pulumi", "pulumi_aws", "pyspark", "moto", "boto3"},
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_is_below_it(package: str) -> None:
    wrong = []
    for path in modules(package):
        for name in imports(ast.parse(path.read_text())):
            other = next((other for other in PACKAGES if within(name, other) and other != package), None)
            if other and not any(within(name, allowed) or within(allowed, name) for allowed in ALLOWED[package]):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            if any(within(name, library) for library in FORBIDDEN[package]):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_the_contract_needs_nothing_but_the_standard_library() -> None:
    import sys

    names = imports(ast.parse((ROOT / "services" / "contract.py").read_text()))
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_nothing_outside_envs_asks_whether_it_runs_in_a_sandbox() -> None:
    asking = []
    for package in ("analytics", "infra", "services"):
        for path in modules(package):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.If | ast.IfExp | ast.While) and "sandbox" in ast.unparse(node.test).lower():
                    asking.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert asking == []
