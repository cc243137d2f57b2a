"""Where a server listens: an address of this machine and a port."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_LOCALHOST = "localhost"
_FORM = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<four>[^\[\]:]+)):(?P<port>\d{1,5})", re.ASCII)
_PORTS = range(1, 65536)


@dataclass(frozen=True, slots=True)
class Address:
    """``host`` is an IP address, without the brackets of one of version 6."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``127.0.0.1:9464``, ``[::1]:9464`` or ``localhost:9464``.

        Raises:
            ValueError: if it is none of these. Other names are refused: what they mean is decided elsewhere.
        """
        form = _FORM.fullmatch(text)
        if form is None or int(form["port"]) not in _PORTS:
            raise ValueError("is no ADDRESS:PORT, such as 127.0.0.1:9464 or [::1]:9464, with a port of 1 to 65535")
        host = "127.0.0.1" if form["four"] == _LOCALHOST else form["six"] or form["four"]
        version = ipaddress.ip_address(host).version
        if (version == 6) != (form["six"] is not None):
            raise ValueError("has brackets around an address of version 4; only one of version 6 takes them")
        return cls(host, int(form["port"]))

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
