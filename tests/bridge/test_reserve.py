import errno
from pathlib import Path

from bridge.reserve import RESERVE_BYTES, Reserve


def test_the_room_is_really_taken_once_and_given_back(tmp_path):
    path = tmp_path / "reserve.bin"
    reserve = Reserve(path)
    assert reserve.hold()
    held = path.read_bytes()
    assert path.stat().st_blocks * 512 >= RESERVE_BYTES
    assert reserve.hold()
    assert path.read_bytes() == held
    reserve.release()
    assert not path.exists()
    reserve.release()


def test_a_disk_without_room_is_told_and_keeps_no_half(tmp_path, monkeypatch, caplog):
    path = tmp_path / "reserve.bin"

    def full(self, data):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        assert not Reserve(path).hold()
    assert not path.exists()
    assert caplog.messages == ["cannot hold room back for deleting takes: the disk is full"]
    assert Reserve(path).hold()
