"""What every engine shares, over opaque eras: written once here, and composed by the protocols' packages.

Rules of this package:

1. Nothing here knows a protocol. An era is compared, never computed with.
2. Every part is an object of its own that others hold; nothing here is inherited from.
3. ``Engine`` is the contract's face: it holds a ``Member`` (what is the same everywhere) and an ``Algorithm`` (what a
   paper says). Every input passes ``Member.at``, so that time is checked in one place.
4. What the disk has is known from ``Writes`` only; what leaves, leaves by the ``Outbox``.
"""
