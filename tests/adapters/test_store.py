"""Files are there whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from resources.adapters.store import LEFT_OVER_AFTER_S, WRITING, Store
from resources.core.errors import CallError, FailureKind
from tests.support.small_disk import small_disk as mounted
from tests.support.time import NOW


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    with mounted(tmp_path / "small", 256) as disk:
        yield disk.path


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    path = store.write_bytes("a/b/c.bin", b"content")
    assert path == tmp_path / "store/a/b/c.bin"
    assert path.read_bytes() == b"content"
    table = pa.table({"a": [1, 2]})
    store.write_table("t/x.parquet", table)
    assert store.read_table("t/x.parquet") == table


def test_a_file_that_is_broken_off_leaves_the_older_one_and_no_rest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_bytes("x", b"old")

    def broken_off() -> None:
        with store.whole_file("x") as temporary:
            temporary.write_bytes(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert (tmp_path / "x").read_bytes() == b"old"
    assert _files(tmp_path) == ["x"]


def test_what_a_killed_process_left_is_swept_up_after_a_while(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_bytes("x", b"whole")
    for name, age_s in (("old", LEFT_OVER_AFTER_S + 60), ("new", 60.0)):
        left = tmp_path / WRITING / name
        left.write_bytes(b"half of")
        os.utime(left, (NOW - age_s, NOW - age_s))
    store.sweep(NOW)
    assert _files(tmp_path) == [f"{WRITING}/new", "x"]


def test_sweeping_a_store_that_does_not_exist_yet_is_no_trouble(tmp_path: Path) -> None:
    Store(tmp_path / "store").sweep(NOW)
    assert not (tmp_path / "store").exists()


def test_a_reader_sees_the_old_or_the_new_file_and_never_a_part(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_bytes("x", b"old")
    with store.whole_file("x") as temporary:
        temporary.write_bytes(b"new")
        assert (tmp_path / "x").read_bytes() == b"old"
    assert (tmp_path / "x").read_bytes() == b"new"


@pytest.mark.may_skip  # only root can mount
def test_a_full_disk_is_a_store_failure_that_names_the_path(small_disk: Path) -> None:
    store = Store(small_disk)
    store.write_bytes("x", b"old")
    with pytest.raises(CallError) as caught:
        store.write_bytes("x", os.urandom(1_000_000))
    failure = caught.value.failure
    assert failure.kind is FailureKind.STORE
    assert str(small_disk / "x") in failure.message
    assert "No space left" in failure.message
    assert (small_disk / "x").read_bytes() == b"old"
    assert _files(small_disk) == ["x"]
    with pytest.raises(CallError) as caught:
        store.write_table("t.parquet", pa.table({"a": list(range(200_000))}))
    assert caught.value.failure.kind is FailureKind.STORE
    assert _files(small_disk) == ["x"]


def test_a_path_that_cannot_be_written_is_a_store_failure_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CallError) as caught:
        Store(tmp_path / "file").write_bytes("a/b", b"x")
    assert caught.value.failure.kind is FailureKind.STORE
    assert str(tmp_path / "file/a/b") in caught.value.failure.message
