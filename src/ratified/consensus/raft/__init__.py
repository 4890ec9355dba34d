"""Raft, as a pure state machine behind the contract. ``docs/raft.md`` goes through the paper's figure 2 row by row.

Rules of this package:

1. One member is a ``Core`` (term, vote, log, commit index) and one role: ``Follower``, ``Candidate``, ``Leader``.
   ``Raft`` changes roles; a role never outlives its term.
2. Names are the paper's. A rule that figure 2 does not have is an extension, has a flag in
   ``contract.Extensions`` or ``RaftExtensions``, and changes when things are sent, never what is safe.
3. Nothing is believed to be on disk before ``persisted`` says so: not the own vote, not the own copy of an entry,
   not what is delivered, not the term that a heartbeat's answer claims.
4. A message is checked before it changes anything; what no correct peer sends is dropped and counted.
"""

from ratified.consensus.raft.engine import Engine as Engine
from ratified.consensus.raft.engine import Textbook as Textbook
from ratified.consensus.raft.messages import Message as Message
from ratified.consensus.raft.salvage import SALVAGER as SALVAGER
from ratified.consensus.raft.state import decode_state as decode_state
