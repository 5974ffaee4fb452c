"""Where scripts/rig/killed.py lets data live: the host's disk, or an ext4 or XFS in an image that can be filled.

Images are mounted in a mount name space of this process, by loop devices that go with their mount: even a SIGKILL
leaves neither a mount nor a device behind."""
import contextlib
import ctypes
import errno
import os
import signal
import subprocess
import time

from processes import Failed

_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 0x40000
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
ROOM_BYTES, ROOM_S = 64 << 20, 30  # XFS frees in the background
UNMOUNT_S = 60  # the ring of a killed process holds its files a little longer than the process lives

# Room for the journal of one run: about 20 MiB a kill. The image is sparse. No blocks are kept for root alone.
IMAGE_BYTES = 1 << 30
KINDS = {"ext4": ["mkfs.ext4", "-q", "-m", "0", "-J", "size=8"], "xfs": ["mkfs.xfs", "-q"]}


class Denied(Exception):
    """This machine lets us have no such file system."""


@contextlib.contextmanager
def undisturbed():
    """No signal between an act and our knowing of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(*arguments):
    try:
        done = subprocess.run([str(a) for a in arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env={**os.environ, "PATH": _PATH, "LC_ALL": "C"})
    except FileNotFoundError:
        return f"{arguments[0]} is not installed"
    return None if done.returncode == 0 else f"{arguments[0]}: {done.stdout.strip()}"


def own_mounts():
    """From here on nobody else sees what this process mounts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0 or libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None) != 0:
        raise Denied(f"no mount name space: {os.strerror(ctypes.get_errno())}")


class Host:
    """The disk that holds the build tree. It is never filled."""
    name = "host"
    can_be_filled = False
    entries_max = 600  # acknowledged before a kill, at most

    def __init__(self, work):
        self.directory = work / "host"
        self.directory.mkdir()

    def close(self, keep=False):
        pass


class Image:
    can_be_filled = True
    entries_max = 60

    def __init__(self, work, kind):
        self.name = kind
        self.image = work / f"{kind}.img"
        self.directory = work / kind
        self._filler = self.directory / "filler"
        with open(self.image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        problem = _run(*KINDS[kind], self.image)
        self.directory.mkdir()
        if not problem:
            with undisturbed():
                problem = _run("mount", "-t", kind, "-o", "loop", self.image, self.directory)
        if problem:
            self._remove()
            raise Denied(problem)

    def _remove(self):
        self.image.unlink()
        self.directory.rmdir()

    def check_room(self):
        """A journal that has filled the disk by itself says nothing about full disks that get room again."""
        end = time.monotonic() + ROOM_S
        while (free := os.statvfs(self.directory)).f_bavail * free.f_bsize < ROOM_BYTES:
            if time.monotonic() > end:
                raise Failed(f"the journal alone has filled {self.directory}: give fewer --kills-per-run")
            time.sleep(0.05)

    def fill(self):
        """Take every free block, down to the last; also those that became free since the last time."""
        size = 64 << 20
        with open(self._filler, "ab") as file:
            end = os.fstat(file.fileno()).st_size
            while size >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), end, size)
                    end += size
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2
            os.fsync(file.fileno())

    def make_room(self):
        with contextlib.suppress(FileNotFoundError):
            self._filler.unlink()

    def close(self, keep=False):
        """The image stays when it is to be kept: `mount -o loop` shows what is in it."""
        with undisturbed():
            end = time.monotonic() + UNMOUNT_S
            while (problem := _run("umount", self.directory)) and time.monotonic() < end:
                time.sleep(0.05)
            if problem:
                raise Failed(f"unmount {self.directory}: {problem}")
            if not keep:
                self._remove()


def open_places(names, work, say):
    """(places, what was denied). A kind that is denied is said, and left out."""
    places, denied = [], []
    mounts_are_own = False
    for name in names:
        try:
            if name == "host":
                places.append(Host(work))
                continue
            if not mounts_are_own:
                own_mounts()
                mounts_are_own = True
            places.append(Image(work, name))
        except Denied as reason:
            denied.append(name)
            say(f"no {name} here: {reason}")
    return places, denied
