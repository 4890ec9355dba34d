"""What crosses a wire: frames between peers, and etcd's messages.

Rules of this package:

1. Every byte from outside is bounded and validated here, before anything decides by it.
2. A peer frame begins with magic and version; what is newer than this version knows is refused.
3. etcd's messages live in a descriptor pool of their own, so that they meet no other copy in the same process.
"""
