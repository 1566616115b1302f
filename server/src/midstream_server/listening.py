"""On which addresses the server listens, and whether it may without asking for credentials."""

import ipaddress

from midstream_server.settings import Settings, flag_name, split_address


def is_loopback(listen: str) -> bool:
    """Whether only this machine can reach the address. A name other than localhost may be anybody's."""
    host, _ = split_address(listen)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def exposed(settings: Settings) -> list[str]:
    """The listeners that others than this machine can reach, as `--listen 0.0.0.0:7733`. Metrics do not count."""
    listeners = {"listen": settings.listen, "web_listen": settings.web_listen}
    return [
        f"{flag_name(name)} {address}" for name, address in listeners.items() if address and not is_loopback(address)
    ]


def may_be_open(settings: Settings) -> bool:
    """Whether the server may serve everybody while there are no API keys."""
    return settings.insecure or not exposed(settings)


def refusal(settings: Settings) -> str:
    """What is said to whoever would open the server to a network."""
    return (
        f"{' and '.join(exposed(settings))} can be reached from other machines and there is no API key, so that "
        f"anybody could do everything here; create one first with `midstream-server keys create --name NAME --database "
        f"{settings.database}`, or listen on 127.0.0.1, or accept it with --insecure"
    )


def reachable(listen: str, port: int) -> str:
    """The address at which a client on this machine finds a listener."""
    host, _ = split_address(listen)
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
