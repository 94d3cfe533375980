"""How this machine reaches others."""

import contextlib
import socket
import sys


def free_port() -> int:
    """The number of a TCP port that no process uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def interface_to(address: str) -> str | None:
    """The name of the network interface through which this machine reaches an address; None if it cannot be told.

    The name of a host may stand for its loopback address, as on Debian, which other machines cannot reach.
    """
    if sys.platform != "linux":
        return None
    import fcntl

    get_address = 0x8915  # SIOCGIFADDR of Linux: a name in 16 bytes -> 4 bytes from the 20th on
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))  # of UDP, which sends nothing here
        own = socket.inet_aton(probe.getsockname()[0])
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                found = fcntl.ioctl(probe.fileno(), get_address, name.encode().ljust(40, b"\0"))
                if found[20:24] == own:
                    return name
    return None
