"""Which addresses are this machine's own."""

from ipaddress import IPv6Address, ip_address

LOCALHOST = "localhost"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it: a loopback address, or `localhost` (RFC 6761, section 6.3)."""
    name = host.lower().rstrip(".")
    if name == LOCALHOST or name.endswith(f".{LOCALHOST}"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False  # any other name may lead anywhere, and elsewhere tomorrow
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def host_of(authority: str) -> str:
    """The host of `HOST`, `HOST:PORT` or `[HOST]:PORT`, in lower case."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].lower().rstrip(".")


def same_address(one: str, other: str) -> bool:
    """Whether two texts are the same IP address; False where one is none."""
    try:
        return ip_address(one) == ip_address(other)
    except ValueError:
        return False
