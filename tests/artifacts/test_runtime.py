"""Which wheels and libraries fit what they are to run on; every other is named."""

import struct
from pathlib import Path

import pytest

from artifacts.errors import PackagingError
from artifacts.runtime import LAMBDA, WINDOWS


def wheel(site: Path, name: str, *tags: str) -> None:
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir()
    folder.joinpath("WHEEL").write_text("Wheel-Version: 1.0\n" + "".join(f"Tag: {tag}\n" for tag in tags))


def library(path: Path, machine: int, bits: int = 2) -> None:
    path.write_bytes(b"\x7fELF" + bytes([bits, 1]) + bytes(12) + struct.pack("<H", machine))


@pytest.mark.parametrize(
    "tag",
    [
        "py3-none-any",
        "cp311-cp311-manylinux_2_17_x86_64",
        "cp39-abi3-manylinux2014_x86_64",
        "py3-none-manylinux1_x86_64",
        "cp311-none-any",
    ],
)
def test_wheels_that_fit(tmp_path: Path, tag: str) -> None:
    wheel(tmp_path, "fitting", "py2-none-any", tag)
    LAMBDA.check(tmp_path)


@pytest.mark.parametrize(
    "tag",
    [
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp312-abi3-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_17_aarch64",
        "cp311-cp311-macosx_11_0_arm64",
        "cp311-cp311-win_amd64",
        "cp311-cp311-musllinux_1_2_x86_64",
        "py2-none-any",
    ],
)
def test_wheels_that_do_not_fit_are_named(tmp_path: Path, tag: str) -> None:
    wheel(tmp_path, "foreign", tag)
    wheel(tmp_path, "fitting", "py3-none-any")
    with pytest.raises(PackagingError, match=rf"foreign-1\.0 \({tag}\)") as caught:
        LAMBDA.check(tmp_path)
    assert "fitting" not in str(caught.value)


@pytest.mark.parametrize(("machine", "bits"), [(183, 2), (3, 1), (62, 1)])
def test_libraries_for_another_machine_are_named(tmp_path: Path, machine: int, bits: int) -> None:
    library(tmp_path / "good.so", 62)
    library(tmp_path / "_foreign.cpython-311.so", machine, bits)
    with pytest.raises(PackagingError, match=r"_foreign\.cpython-311\.so") as caught:
        LAMBDA.check(tmp_path)
    assert "good.so" not in str(caught.value)


def windows_library(path: Path, machine: int = 0x8664, signature: bytes = b"PE\0\0") -> None:
    path.write_bytes(b"MZ" + bytes(58) + struct.pack("<I", 128) + bytes(64) + signature + struct.pack("<H", machine))


def test_what_windows_loads(tmp_path: Path) -> None:
    wheel(tmp_path, "fitting", "cp311-cp311-win_amd64")
    wheel(tmp_path, "anywhere", "py3-none-any")
    windows_library(tmp_path / "_module.cp311-win_amd64.pyd")
    windows_library(tmp_path / "library.dll")
    WINDOWS.check(tmp_path)


@pytest.mark.parametrize(
    "tag",
    ["cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-win_arm64", "cp311-cp311-win32", "cp312-cp312-win_amd64"],
)
def test_wheels_that_windows_cannot_load_are_named(tmp_path: Path, tag: str) -> None:
    wheel(tmp_path, "foreign", tag)
    wheel(tmp_path, "fitting", "cp311-cp311-win_amd64")
    with pytest.raises(PackagingError, match=rf"foreign-1\.0 \({tag}\)") as caught:
        WINDOWS.check(tmp_path)
    assert "fitting" not in str(caught.value)


def test_libraries_that_windows_cannot_load_are_named(tmp_path: Path) -> None:
    library(tmp_path / "linux.so", 62)
    library(tmp_path / "linux.so.1.2", 62)
    windows_library(tmp_path / "arm.dll", machine=0xAA64)
    windows_library(tmp_path / "old.pyd", signature=b"NE\0\0")
    (tmp_path / "empty.DLL").write_bytes(b"")
    windows_library(tmp_path / "good.pyd")
    with pytest.raises(PackagingError) as caught:
        WINDOWS.check(tmp_path)
    assert all(name in str(caught.value) for name in ("linux.so ", "linux.so.1.2", "arm.dll", "old.pyd", "empty.DLL"))
    assert "good.pyd" not in str(caught.value)
