"""The store's door, against a real S3."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.contract.errors import NotFound, Unavailable
from core.contract.manifest import ManifestMismatch, build
from core.objects.store import PART_BYTES, Listed, Store
from local.ports import choose

BIG = os.urandom(PART_BYTES * 2 + 12_345)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, len(BIG)])
def test_a_stream_of_any_size_comes_back(store: Store, size: int) -> None:
    sent, seen = BIG[:size], []
    pieces = [sent[at : at + 700_001] for at in range(0, size, 700_001)]
    stored = store.put_stream("a/stream", pieces, progress=seen.append)
    assert (stored.bytes, stored.sha256) == (size, sha256(sent))
    assert sum(seen) == size
    assert store.head("a/stream") == size
    assert store.read("a/stream") == sent


def test_a_stream_that_breaks_off_leaves_nothing(store: Store) -> None:
    def broken() -> Iterator[bytes]:
        yield BIG[:PART_BYTES]
        yield BIG[:PART_BYTES]
        raise RuntimeError("the sender is gone")

    with pytest.raises(RuntimeError, match="the sender is gone"):
        store.put_stream("a/broken", broken())
    assert store.head("a/broken") is None
    assert list(store.list("a/")) == []


def test_pieces_may_come_in_any_order(store: Store) -> None:
    upload = store.begin_multipart("a/pieces")
    second = store.upload_part("a/pieces", upload, 2, BIG[PART_BYTES:])
    first = store.upload_part("a/pieces", upload, 1, BIG[:PART_BYTES])
    assert store.head("a/pieces") is None
    store.complete_multipart("a/pieces", upload, [first, second])
    assert store.read("a/pieces") == BIG


def test_aborting_twice_is_no_error(store: Store) -> None:
    upload = store.begin_multipart("a/aborted")
    store.upload_part("a/aborted", upload, 1, b"x" * 100)
    store.abort_multipart("a/aborted", upload)
    store.abort_multipart("a/aborted", upload)
    assert store.head("a/aborted") is None


def test_a_range_is_inclusive(store: Store) -> None:
    store.put("a/range", b"0123456789")
    assert b"".join(store.get("a/range", first=2, last=4)) == b"234"
    assert b"".join(store.get("a/range", first=7)) == b"789"
    assert b"".join(store.get("a/range", last=0)) == b"0"


def test_what_is_not_there_is_said_before_the_first_byte(store: Store) -> None:
    assert store.head("a/none") is None
    with pytest.raises(NotFound):
        store.get("a/none")


def test_a_download_appears_whole_and_right_or_not_at_all(store: Store, tmp_path: Path) -> None:
    store.put_stream("a/file", [BIG])
    target = tmp_path / "deep" / "file"
    for wrong in ({"sha256": "0" * 64}, {"bytes": len(BIG) + 1}):
        with pytest.raises(ManifestMismatch):
            store.download("a/file", target, **wrong)  # type: ignore[arg-type]
        assert list(target.parent.iterdir()) == []
    assert store.download("a/file", target, sha256=sha256(BIG), bytes=len(BIG)).bytes == len(BIG)
    assert target.read_bytes() == BIG
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_goes_up_and_comes_down(store: Store, tmp_path: Path) -> None:
    (tmp_path / "up" / "sub").mkdir(parents=True)
    (tmp_path / "up" / "config.json").write_text("{}")
    (tmp_path / "up" / "sub" / "weights.bin").write_bytes(BIG)
    manifest = build(tmp_path / "up")
    store.upload_folder(tmp_path / "up", manifest, "models/m/")
    store.download_folder(manifest, "models/m/", tmp_path / "down")
    assert build(tmp_path / "down").digest() == manifest.digest()


def test_a_file_that_changes_on_the_way_up_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    manifest = build(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ManifestMismatch, match=r"config\.json changed"):
        store.upload_folder(tmp_path, manifest, "models/m/")


def test_deleting_a_folder_leaves_its_neighbour(store: Store) -> None:
    for key in ("jobs/a/1", "jobs/a/b/2", "jobs/ab/3"):
        store.put(key, b"x")
    assert store.delete_prefix("jobs/a/") == 2
    assert list(store.list("jobs/")) == [Listed("jobs/ab/3", 1)]
    assert store.delete_prefix("jobs/a/") == 0
    store.delete("jobs/ab/3", "jobs/never")
    assert list(store.list("jobs/")) == []


@pytest.mark.parametrize("prefix", ["", "/", "jobs", "jobs/a"])
def test_only_a_folder_is_deleted_by_prefix(store: Store, prefix: str) -> None:
    with pytest.raises(ValueError, match="not a folder"):
        store.delete_prefix(prefix)


def test_a_presigned_url_lives_five_minutes(store: Store) -> None:
    """So long it outlives a key that is revoked."""
    assert "X-Amz-Expires=300&" in store.presign_get("a/signed")


def test_a_presigned_url_needs_no_key_and_honours_a_range(store: Store) -> None:
    store.put("a/signed", b"0123456789")
    url = store.presign_get("a/signed", filename='we"ird\u202e\x1b.bin')
    with httpx.Client(trust_env=False) as client:
        whole = client.get(url)
        assert whole.content == b"0123456789"
        assert whole.headers["content-disposition"] == "attachment; filename*=UTF-8''we%22ird%E2%80%AE%1B.bin"
        assert client.get(url, headers={"Range": "bytes=3-5"}).content == b"345"
        assert client.get(url.partition("?")[0]).status_code == 403


def test_urls_are_signed_for_the_public_name() -> None:
    with_public_name = Store(
        endpoint_url="http://127.0.0.1:1",
        public_endpoint_url="https://store.example.org",
        bucket="palate",
        access_key="k",
        secret_key="s",
    )
    url = with_public_name.presign_get("a/b")
    assert url.startswith("https://store.example.org/palate/a/b?")
    assert "X-Amz-Expires=300&" in url
    with_public_name.close()


def test_a_store_that_is_away_is_unavailable(tmp_path: Path) -> None:
    away = Store(
        endpoint_url=f"http://127.0.0.1:{choose()}",
        bucket="palate",
        access_key="k",
        secret_key="s",
        connect_timeout=0.2,
        attempts=1,
    )
    assert not away.has_bucket()
    for call in (lambda: away.put("a", b"x"), lambda: away.get("a"), lambda: away.head("a"), lambda: away.delete("a")):
        with pytest.raises(Unavailable):
            call()
    with pytest.raises(Unavailable):
        away.download("a", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    away.close()


def test_a_bucket_that_is_not_there_is_not_ready(store: Store) -> None:
    assert store.has_bucket()
    store.bucket = "no-such-bucket"
    assert not store.has_bucket()
