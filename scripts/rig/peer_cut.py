"""Cuts the connection between two instances, as a network or a firewall would: neither of the two does it."""
import ctypes
import os
import socket

from processes import Failed

_libc = ctypes.CDLL(None, use_errno=True)
_PIDFD_GETFD = 438  # of every architecture
_CONNECTED = "03"   # a state in /proc/net/unix


def _borrow(pid, fd):
    """A copy of another process's descriptor. It takes the right to trace that process."""
    process = os.pidfd_open(pid)
    try:
        copy = _libc.syscall(_PIDFD_GETFD, process, fd, 0)
        if copy < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        return copy
    finally:
        os.close(process)


def is_allowed():
    """A container may deny it, even for our own children."""
    try:
        os.close(_borrow(os.getpid(), 2))
        return True
    except OSError:
        return False


def _inodes(path):
    """Of the accepted connections of that listening socket."""
    with open("/proc/net/unix") as file:
        rows = (line.split() for line in file)
        return {row[6] for row in rows if len(row) == 8 and row[7] == str(path) and row[5] == _CONNECTED}


def cut(pid, path):
    """All connections that the process has accepted on the Unix socket at `path` are shut down. How many were there."""
    count = 0
    wanted = {f"socket:[{inode}]" for inode in _inodes(path)}
    try:
        for name in os.listdir(f"/proc/{pid}/fd") if wanted else ():
            if os.readlink(f"/proc/{pid}/fd/{name}") not in wanted:
                continue
            with socket.socket(fileno=_borrow(pid, int(name))) as connection:
                connection.shutdown(socket.SHUT_RDWR)
            count += 1
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended meanwhile, or closed what we saw
    except OSError as problem:
        if problem.errno not in (9, 88, 107):  # EBADF, ENOTSOCK, ENOTCONN: it closed it first
            raise Failed(f"cut the connection at {path}: {problem}") from problem
    return count
