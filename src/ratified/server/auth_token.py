"""How ``--auth-token`` is read."""

from __future__ import annotations

from pathlib import Path

from ratified.api.jwt_options import METHODS, JwtOptions
from ratified.server.readers import time_s

TTL_S_DEFAULT = 300.0
SIMPLE = "simple"
_KEYS = ("sign-method", "pub-key", "priv-key", "ttl")


def auth_token(given: str) -> JwtOptions | None:
    """``simple`` (None), or ``jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=10m``."""
    kind, *parts = given.split(",")
    if kind == SIMPLE and not parts:
        return None
    if kind != "jwt":
        raise ValueError(f"{given!r} must be simple, or begin with jwt")
    said: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if name not in _KEYS or not equals or not value or name in said:
            raise ValueError(f"{part!r} must be one of {', '.join(f'{each}=...' for each in _KEYS)}, each once")
        said[name] = value
    method = said.get("sign-method", "")
    if method not in METHODS:
        raise ValueError(f"sign-method is {method!r}, and must be one of {', '.join(METHODS)}")
    public, private = (Path(said[name]) if name in said else None for name in ("pub-key", "priv-key"))
    if private is None and (public is None or method.startswith("HS")):
        raise ValueError("priv-key=FILE is missing, or where this member is to give no tokens out pub-key=FILE")
    ttl_s = time_s(said["ttl"]) if "ttl" in said else TTL_S_DEFAULT
    if ttl_s <= 0:
        raise ValueError("ttl must be more than 0")
    return JwtOptions(method, public, private, ttl_s)
