"""Which files of this project a module needs: itself and what it imports, transitively."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from artifacts.errors import PackagingError

SOURCES: Final = "services"
"""The package that all that is shipped of this project lives in."""


def of_handler(handler: str, root: Path) -> list[Path]:
    """The files that a handler such as ``services.x.handler.handle`` needs, relative to the root.

    Raises `PackagingError` when there is no such function.
    """
    module, _, function = handler.rpartition(".")
    try:
        found = of_module(module, root)
    except PackagingError as error:
        raise PackagingError(f"handler {handler}: {error}") from None
    file = _module_file(module, root)
    assert file is not None  # noqa: S101 (it is one of those found)
    body = ast.parse((root / file).read_bytes()).body
    if function not in {node.name for node in body if isinstance(node, ast.FunctionDef)}:
        raise PackagingError(f"handler {handler}: {file} defines no {function}")
    return found


def of_module(module: str, root: Path) -> list[Path]:
    """The files that a module of `SOURCES` needs, relative to the root. Raises `PackagingError`."""
    found: dict[str, Path] = {}
    pending = [module]
    while pending:
        current = pending.pop()
        if current in found:
            continue
        file = _module_file(current, root)
        if file is None:
            raise PackagingError(f"there is no module {current} in {root}")
        found[current] = file
        # Importing a module runs every package around it.
        if parent := current.rpartition(".")[0]:
            pending.append(parent)
        pending += _imports(current, root / file, root)
    return sorted(found.values())


def _module_file(module: str, root: Path) -> Path | None:
    path = Path(*module.split("."))
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if (root / candidate).is_file():
            return candidate
    return None


def _imports(module: str, file: Path, root: Path) -> Iterator[str]:
    """The modules of `SOURCES` that a file imports, wherever in it the import stands."""
    package_name = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_bytes(), filename=str(file))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package_name.split(".")[: len(package_name.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # "from package import name": the name may be a module of its own.
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if (name == SOURCES or name.startswith(f"{SOURCES}.")) and _module_file(name, root):
                yield name
