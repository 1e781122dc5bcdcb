"""Writing: all of it, now, in UTF-8, and a file whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from gigarank.cli.output import emit, is_terminal, note, printable, write_file


def test_emit_writes_utf_8_and_escapes_what_utf_8_cannot_hold(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    emit("植物 \udcff\n")
    assert capfdbinary.readouterr().out == "植物 \\udcff\n".encode()


def test_note_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    note("said")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "said\n")


def test_no_stream_is_no_terminal_and_neither_is_a_file(tmp_path: Path) -> None:
    assert not is_terminal(None)
    with (tmp_path / "file").open("w") as stream:
        assert not is_terminal(stream)
    assert not is_terminal(stream)  # closed


def test_a_pseudo_terminal_is_a_terminal() -> None:
    controller, terminal = os.openpty()
    with os.fdopen(controller, "rb"), os.fdopen(terminal, "w") as stream:
        assert is_terminal(stream)


def test_a_file_is_created_with_the_usual_rights_and_replaced_with_its_own(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    write_file(path, b"one")
    usual = tmp_path / "usual"
    usual.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)
    path.chmod(0o600)
    write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["usual", "vectors.npy"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    write_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_pipe_is_written_and_stays_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_file(path, b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)  # a longer name, as the file beside it has, does not fit a file system
    path.write_bytes(b"old")
    with pytest.raises(OSError) as caught:
        write_file(path, b"new")
    assert caught.value.errno == errno.ENAMETOOLONG
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_with_its_reason() -> None:
    with pytest.raises(OSError) as caught:
        write_file(Path("/dev/full"), b"x")
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\t c ", "a b c"),
        ("\x1b[2J", "\ufffd[2J"),
        ("a\u202eb", "a\ufffdb"),
        ("نص 中文 👩‍👧", "نص 中文 👩‍👧"),
        ("\x7f", "\ufffd"),
    ],
)
def test_printable_text_is_one_line_that_cannot_steer(text: str, shown: str) -> None:
    assert printable(text) == shown
