"""Rules of fabricSettings and of the store for diagnostics."""

import re
from typing import Any, Final

from services.fabric.rules.rule import PROPERTIES, STORE, VALIDATOR, Book, Found
from services.fabric.rules.view import flag, get, items, parameter, properties, repeated, sections, text

LONGEST_ROOT: Final = 80
"""Characters (Constants.cs, FabricDataRootMaxPath)."""
_ABSOLUTE: Final = re.compile(r"[A-Za-z]:[\\/].*")
_UNC: Final = ("\\\\", "//")
_STORES: Final = ("FileShare", "AzureStorage")

_book = Book()


@_book.rule("parameters-unique", VALIDATOR)
def _parameters_unique(configuration: Any) -> Found:
    for at, section in enumerate(sections(configuration)):
        names = [text(each, "name").lower() for each in items(section, "parameters")]
        for name in repeated(names):
            yield (
                f"properties.fabricSettings[{at}]",
                f"{text(section, 'name')} has the parameter {name!r} twice, upper and lower case being the same",
            )


@_book.rule("roots", PROPERTIES)
def _roots(configuration: Any) -> Found:
    for name in ("FabricDataRoot", "FabricLogRoot"):
        found = parameter(configuration, "Setup", name)
        if found is None:
            continue
        path = f"properties.fabricSettings Setup/{name}"
        if found.startswith(_UNC):
            yield path, f"{found} is on another machine: it must be a local path"
        elif not _ABSOLUTE.fullmatch(found):
            yield path, f"{found!r} is no absolute path such as D:\\SF"
        if len(found) > LONGEST_ROOT:
            yield path, f"{len(found)} characters: at most {LONGEST_ROOT}"


@_book.rule("diagnostics-store", STORE)
def _diagnostics_store(configuration: Any) -> Found:
    store = get(properties(configuration), "diagnosticsStore")
    if store is None:
        return
    path = "properties.diagnosticsStore"
    if text(store, "storeType").lower() not in (name.lower() for name in _STORES):
        yield f"{path}.storeType", f"{text(store, 'storeType')!r} is not one of {', '.join(_STORES)}"
    if not text(store, "connectionstring"):
        yield f"{path}.connectionstring", "is missing or empty"


@_book.rule("diagnostics-encryption", VALIDATOR)
def _diagnostics_encryption(configuration: Any) -> Found:
    store = get(properties(configuration), "diagnosticsStore")
    if flag(store, "isEncrypted") and text(store, "storeType").lower() == "fileshare":
        yield "properties.diagnosticsStore.isEncrypted", "the connection string of a file share cannot be encrypted"


RULES: Final = tuple(_book.rules)
