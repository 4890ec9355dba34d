"""How tokens of the kind JWT are signed, as the configuration says it. What reads that waits for no cryptography."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

METHODS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"),
    *("HS256", "HS384", "HS512", "EdDSA"),
)


class JwtOptions(NamedTuple):
    """How tokens are signed; the files are PEM, or the secret itself with HS256 and its like."""

    method: str
    public_key: Path | None
    private_key: Path | None
    """None: this member gives no tokens out."""
    ttl_s: float
