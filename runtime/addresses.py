"""Which addresses a tenant's URL may lead to: public ones, and those that the operator allows.

Decided about an IP address, never about a name: what a name leads to is known only when it is connected to.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL = 2_000
URL_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")  # RFC 3986; a backslash is read differently by different programs
HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
LOOKS_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*")  # inet_aton takes 127.1, 0x7f.1, 2130706433

# The special-purpose registry of IANA (RFC 6890), kept here because Python's own list changes between its releases.
NOT_PUBLIC_V4 = tuple(
    IPv4Network(each)
    for each in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata is in it
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, a public address only by its looks
        "169.254.0.0/16",  # link-local; metadata of AWS, Azure, GCP
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata is in it
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
PUBLIC_V6 = IPv6Network("2000::/3")  # all that is assigned as global unicast; loopback, fc00::/7, fe80::/10, ff00::/8 are outside
NOT_PUBLIC_V6 = tuple(
    IPv6Network(each)
    for each in (
        "2001::/23",  # protocol assignments, Teredo in it
        "2001:db8::/32",
        "2002::/16",  # 6to4, which ends at an IPv4 address of the sender's choice
        "3fff::/20",
    )
)
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: how a network without IPv4 reaches an IPv4 address


def is_public(address: Address) -> bool:
    """Whether anybody may be sent there: global unicast, and so is the IPv4 address inside a mapped or NAT64 one."""
    inner = embedded(address)
    if isinstance(inner, IPv4Address):
        return not any(inner in network for network in NOT_PUBLIC_V4)
    return inner in PUBLIC_V6 and not any(inner in network for network in NOT_PUBLIC_V6)


def embedded(address: Address) -> Address:
    """The IPv4 address that a mapped (RFC 4291) or NAT64 (RFC 6052) one leads to; else the address."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def literal(host: str) -> Address | None:
    """The address that a host already is, an IPv6 one without its zone."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """Hosts that the operator allows though they are not public, and over plain http too."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "AllowedHosts":
        """Read "name,address,network".

        Raises:
            ValueError: with the rest of a sentence that begins with the setting's name.
        """
        names, networks = set(), []
        for entry in filter(None, (part.strip().lower().rstrip(".") for part in text.split(","))):
            try:
                networks.append(ip_network(entry))
            except ValueError:
                if not HOST_NAME.fullmatch(entry) or LOOKS_NUMERIC.fullmatch(entry):
                    raise ValueError("should be host names, IP addresses or CIDR networks with commas between them.") from None
                names.add(entry)
        return cls(frozenset(names), tuple(networks))

    def has_name(self, host: str) -> bool:
        """Whether the host is allowed by its name."""
        return host.lower().rstrip(".") in self.names

    def has_address(self, address: Address) -> bool:
        """Whether the address is in an allowed network, a mapped one by what it leads to."""
        inner = embedded(address)
        return any(inner in network for network in self.networks)

    def has(self, host: str) -> bool:
        """Whether the host of a URL is allowed, by its name or as an address."""
        address = literal(host)
        return self.has_name(host) if address is None else self.has_address(address)

    def admits(self, address: Address) -> bool:
        """Whether a connection may be made to it."""
        return is_public(address) or self.has_address(address)


def checked_url(text: str, allowed: AllowedHosts) -> SplitResult:
    """A tenant's URL, as far as it can be judged before its name is resolved.

    Raises:
        ValueError: with a sentence: not http or https, without a host, with credentials, too long, plain http or a private
        address that the operator does not allow.
    """
    if len(text) > LONGEST_URL or not URL_CHARACTERS.fullmatch(text):
        raise ValueError(f"The URL should be at most {LONGEST_URL} ASCII characters, others written as %xx.")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("The URL does not read: its host or port is wrong.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("The URL should start with https:// and have a host.")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("The URL should hold neither a user name nor a fragment.")
    check_host(host, allowed)
    if parts.scheme == "http" and not allowed.has(host):
        raise ValueError("The URL should start with https://; the operator of this service allows plain http only to hosts of its choice.")
    return parts


def check_host(host: str, allowed: AllowedHosts) -> None:
    """Refuse what is wrong about a host without asking anybody.

    Raises:
        ValueError: with a sentence.
    """
    address = literal(host)
    if address is None and (LOOKS_NUMERIC.fullmatch(host.rstrip(".")) or not HOST_NAME.fullmatch(host.rstrip("."))):
        raise ValueError("The URL's host is neither a name nor an IP address in its usual form.")
    if address is not None and ("%" in host or not allowed.admits(address)):
        raise ValueError("The URL leads to a private or reserved address, which the operator of this service does not allow.")
