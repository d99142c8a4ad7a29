"""Landlock (Linux 5.13 and later): a process gives up for itself, and for all that it starts, what it does not need.

Needs no right and cannot be taken back. The numbers are those of linux/landlock.h, the same on every architecture.
"""

import ctypes
import os
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_VERSION = 1
PATH_BENEATH, NET_PORT = 1, 2
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38
CAPABILITY_VERSION = 0x20080522  # the third: 64 bits in two words

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE, MAKE = 1 << 4 | 1 << 5, 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12  # no devices are made
MAKE_DEVICES = 1 << 6 | 1 << 11
REFER, TRUNCATE, IOCTL = 1 << 13, 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = READ_FILE | READ_DIR | WRITE_FILE | REMOVE | MAKE | REFER | TRUNCATE
USE = READ_FILE | WRITE_FILE | IOCTL
ALL = READ | WRITE | USE | MAKE_DEVICES
# Of a rule for what is no folder.
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL
BIND, CONNECT = 1 << 0, 1 << 1
ABSTRACT_SOCKETS, SIGNALS = 1 << 0, 1 << 1

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class _Attributes(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _Port(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


@dataclass(frozen=True)
class Rules:
    """What stays. `read`, `write`: files and folders with all below them; `use`: devices, with ioctl; `look`: folders
    whose names are seen, and no more. Those that are not there are passed over. `bind`, `connect`: TCP ports; 0 is
    whichever the kernel chooses.
    """

    read: Iterable[Path] = ()
    write: Iterable[Path] = ()
    use: Iterable[Path] = ()
    look: Iterable[Path] = ()
    bind: Iterable[int] = ()
    connect: Iterable[int] = ()


@cache
def abi() -> int:
    """Of this kernel; 0 where it has no Landlock, or has it switched off."""
    if _libc is None:
        return 0
    return max(0, int(_libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(ASK_VERSION))))


def handled(version: int) -> tuple[int, int, int]:
    """Which rights on files, on the network, and which scopes a kernel of this ABI can take away."""
    files = ALL & ~(0 if version >= 2 else REFER) & ~(0 if version >= 3 else TRUNCATE) & ~(0 if version >= 5 else IOCTL)
    return files, BIND | CONNECT if version >= 4 else 0, ABSTRACT_SOCKETS | SIGNALS if version >= 6 else 0


def ruleset(rules: Rules) -> int:
    """A descriptor that any process may `enter`. Raises OSError."""
    files, net, scoped = handled(abi())
    found = _call(CREATE_RULESET, ctypes.byref(_Attributes(files, net, scoped)), ctypes.c_size_t(_size(abi())), 0)
    try:
        for paths, rights in ((rules.read, READ), (rules.write, WRITE), (rules.use, USE), (rules.look, READ_DIR)):
            for path in paths:
                _allow(found, path, rights & files)
        if net:
            for ports, rights in ((rules.bind, BIND), (rules.connect, CONNECT)):
                _allow_ports(found, ports, rights)
    except BaseException:
        os.close(found)
        raise
    return found


def enter(descriptor: int) -> None:
    """From here on this thread, and every process that it starts, has what the rules leave it, and of root's
    capabilities none. Raises OSError.
    """
    assert _libc is not None
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs was refused")
    _call(RESTRICT_SELF, descriptor, 0)
    # no_new_privs keeps a later execve of root from bringing them back (capabilities(7)).
    header, none = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    if _libc.capset(header, none):
        raise OSError(ctypes.get_errno(), "giving up capabilities was refused")


def hide() -> None:
    """What lies in /proc of this process, its environment and memory too, is closed to others of the same user."""
    if _libc is not None:
        _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _allow(found: int, path: Path, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # what cannot be looked up cannot be used either
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= OF_FILES
        _call(ADD_RULE, found, PATH_BENEATH, ctypes.byref(_Beneath(rights, parent)), 0)
    finally:
        os.close(parent)


def _allow_ports(found: int, ports: Iterable[int], rights: int) -> None:
    """There may be tens of thousands: one structure serves all."""
    assert _libc is not None
    rule = _Port(rights, 0)
    call, shown = _libc.syscall, ctypes.byref(rule)
    for port in ports:
        rule.port = port
        if call(ADD_RULE, found, NET_PORT, shown, 0):
            raise OSError(ctypes.get_errno(), f"Landlock: port {port} is refused")


def _size(version: int) -> int:
    """Of the attributes that a kernel of this ABI knows."""
    return 8 if version < 4 else 16 if version < 6 else 24


def _call(number: int, *arguments: object) -> int:
    assert _libc is not None
    found = int(_libc.syscall(number, *arguments))
    if found < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return found
