"""Folders here and in a bucket of a real S3 server: whole files or none, listed, named when something fails."""

import errno
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from buckets import s3_server
from gigarank.cluster.blocks import Limits
from gigarank.cluster.manifest import Asked, prepare
from gigarank.cluster.places import Place, open_place
from gigarank.cluster.rows import Fields
from gigarank.errors import InvalidInput


@pytest.fixture(scope="module")
def bucket() -> Iterator[None]:
    with s3_server() as env, pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        made = open_place(str(tmp_path / "some" / "folder"), "output")
    else:
        request.getfixturevalue("bucket")
        made = open_place(f"s3://rows/{request.node.name.replace('[', '-').rstrip(']')}/", "output")
    made.make()
    return made


def test_a_file_is_written_read_replaced_and_listed(place: Place) -> None:
    assert place.files() == [] and place.find("b") is None
    place.write("b", b"one")
    place.write("b", b"other")
    place.write("a", b"")
    assert [(file.name, file.size) for file in place.files()] == [("a", 0), ("b", 5)]
    assert place.read("b") == b"other" and place.find("b") == place.files()[1]
    with place.random("b") as opened:
        opened.seek(2)
        assert opened.read(2) == b"he"


def test_a_file_is_a_place_too(place: Place) -> None:
    place.write("b", b"content")
    address = place.called("b") if place.shown.startswith("s3") else place.under("b")
    single = open_place(address, "input")
    (found,) = single.files()
    assert (found.name, found.size, single.read("")) == ("", 7, b"content")
    assert single.called("") == single.shown == address


def test_a_large_file_arrives_whole(place: Place) -> None:
    content = os.urandom(12_000_000)  # more than one part of an upload
    place.write("large", content)
    assert place.read("large") == content


def test_what_a_stopped_writer_left_is_removed(place: Place) -> None:
    place.write("kept", b"x")
    if place.local:
        (Path(place.path) / ".part.1234.half").write_bytes(b"ha")
    else:
        with place.filesystem.open_output_stream(place.under(".part.1234.half")) as stream:
            stream.write(b"ha")
    assert len(place.files()) == 2
    place.drop_halves()
    assert [file.name for file in place.files()] == ["kept"]


def test_what_is_not_there_is_an_error_that_names_it(place: Place) -> None:
    with pytest.raises(OSError) as caught:
        place.read("nothing")
    assert caught.value.filename == place.called("nothing")


def test_many_writers_of_a_name_leave_one_whole_file(place: Place) -> None:
    contents = [bytes([number]) * 50_000 for number in range(4)]
    writers = [threading.Thread(target=place.write, args=("same", content)) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert place.read("same") in contents and [file.name for file in place.files()] == ["same"]


def test_an_input_in_a_bucket_is_cut_into_blocks(bucket: None) -> None:
    source, output = open_place("s3://rows/in", "input"), open_place("s3://rows/out", "output")
    with source.filesystem.open_output_stream(source.under("a.parquet")) as stream:
        parquet.write_table(pa.table({"query": ["q"] * 5, "document": ["d"] * 5}), stream)
    made = prepare(source, output, Asked(Fields(), None, Limits(2), {}))
    assert [block.rows for block in made.blocks] == [2, 2, 1] and prepare(
        source, output, Asked(Fields(), None, Limits(2), {})
    ) == made
    assert output.called("x") == "s3://rows/out/x" and not output.local


@pytest.mark.parametrize("address", ["gs://bucket/x", "s3://", "s3:///x", "s3://bucket/x?scheme=http", "https://host/x"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="neither a path nor s3://bucket/folder"):
        open_place(address, "input")


def test_a_bucket_that_does_not_answer_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:9", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(OSError) as caught:
        open_place("s3://rows/in", "input").files()
    assert caught.value.filename == "s3://rows/in"


def test_a_folder_holds_what_lies_in_it(tmp_path: Path) -> None:
    folder = open_place(str(tmp_path / "a"), "input")
    assert folder.holds(folder) and folder.holds(open_place(str(tmp_path / "a" / "b"), "output"))
    assert not folder.holds(open_place(str(tmp_path / "ab"), "output"))


def test_a_disk_that_takes_no_more_leaves_the_old_file_and_no_half(tmp_path: Path) -> None:
    """A file may not grow over a limit: for the writer the same as a disk that is full."""
    code = (
        "import resource, sys; from gigarank.cluster.places import open_place; place = open_place(sys.argv[1], 'output')\n"
        f"place.write('part', b'old'); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))\n"
        "try: place.write('part', b'x' * 5000)\n"
        "except OSError as error: print(error.errno, error.filename)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{errno.EFBIG} {tmp_path}/part\n"
    assert [path.name for path in tmp_path.iterdir()] == ["part"] and (tmp_path / "part").read_bytes() == b"old"
