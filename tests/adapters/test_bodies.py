"""Page bodies: on the disk before anybody counts on them, and never taken for another one."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.adapters.bodies import FOLDER, BodyReader, BodyWriter, Place, digest_of
from resources.core.errors import CallError, FailureKind
from tests.support.small_disk import SmallDisk
from tests.support.small_disk import small_disk as mounted

MOST = 1_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 256 KiB."""
    with mounted(tmp_path / "small", 256) as disk:
        yield disk


def _files(root: Path) -> list[str]:
    return sorted(path.name for path in (root / FOLDER).iterdir())


def test_bodies_are_read_again_as_they_were_sent_and_unpacked(tmp_path: Path) -> None:
    writer, reader = BodyWriter(tmp_path, "w"), BodyReader(tmp_path)
    pages = [b"<html>one", b"", b"<html>two" * 1000]
    packed = zlib.compress(pages[2])
    first = writer.append([(pages[0], ""), (pages[1], "")])
    second = writer.append([(packed, "deflate")])
    writer.close()
    assert _files(tmp_path) == ["w-0001"]
    for page, place in zip(pages, first + second, strict=True):
        assert reader.body(place, digest_of(page), MOST) == page
    assert reader.sent(second[0]) == packed


def test_a_new_file_is_begun_when_one_is_full_and_by_every_worker(tmp_path: Path) -> None:
    writer, other = BodyWriter(tmp_path, "w", file_bytes=1000), BodyWriter(tmp_path, "x")
    places = [writer.append([(bytes([n]) * 600, "")])[0] for n in range(4)]
    other.append([(b"another", "")])
    assert _files(tmp_path) == ["w-0001", "w-0002", "x-0001"]
    reader = BodyReader(tmp_path)
    assert [reader.sent(place) for place in places] == [bytes([n]) * 600 for n in range(4)]


def test_another_workers_file_is_never_written_to(tmp_path: Path) -> None:
    BodyWriter(tmp_path, "w").append([(b"first", "")])
    with pytest.raises(CallError) as caught:
        BodyWriter(tmp_path, "w").append([(b"second", "")])
    assert caught.value.failure.kind is FailureKind.STORE
    assert BodyReader(tmp_path).sent(Place(f"{FOLDER}/w-0001", 0, 5, "")) == b"first"


@pytest.mark.parametrize("spoil", ["cut", "flip", "gone"])
def test_a_spoilt_body_reads_as_none(tmp_path: Path, spoil: str) -> None:
    body = os.urandom(2000)
    (place,) = BodyWriter(tmp_path, "w").append([(body, "")])
    path = tmp_path / place.file
    whole = path.read_bytes()
    if spoil == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[:-10] if spoil == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    assert BodyReader(tmp_path).body(place, digest_of(body), MOST) is None


def test_a_body_that_unpacks_to_more_than_is_taken_reads_as_none(tmp_path: Path) -> None:
    body = b"x" * 10_000
    (place,) = BodyWriter(tmp_path, "w").append([(zlib.compress(body), "deflate")])
    assert BodyReader(tmp_path).body(place, digest_of(body), len(body)) == body
    assert BodyReader(tmp_path).body(place, digest_of(body), len(body) - 1) is None


@pytest.mark.may_skip  # only root can mount
def test_a_full_disk_is_a_store_failure_and_the_next_body_lies_in_its_place(
    small_disk: SmallDisk,
) -> None:
    root = small_disk.path
    writer, reader = BodyWriter(root, "w"), BodyReader(root)
    (first,) = writer.append([(b"a" * 1000, "")])
    with pytest.raises(CallError) as caught:
        writer.append([(b"b", ""), (os.urandom(1_000_000), "")])
    assert caught.value.failure.kind is FailureKind.STORE
    assert str(root / first.file) in caught.value.failure.message
    assert "No space left" in caught.value.failure.message
    assert (root / first.file).stat().st_size == 1000
    (second,) = writer.append([(b"c" * 1000, "")])
    assert reader.sent(first) == b"a" * 1000
    assert reader.sent(second) == b"c" * 1000
