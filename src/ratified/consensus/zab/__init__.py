"""ZAB, as a pure state machine behind the contract. ``docs/zab.md`` goes through the paper phase by phase.

Rules of this package:

1. One member is a ``Core`` (accepted and current epoch, history, commit index) and one role: ``Probing`` (in the
   textbook ``Looking``), ``Following``, ``Leading``. ``Zab`` changes roles; a role lives for one election, or for one
   leader.
2. Names are those of Junqueira, Reed and Serafini, "Zab: High-performance broadcast for primary-backup systems"
   (DSN 2011), and of ZooKeeper where the paper has none.
3. Election is a hint: who leads is decided by discovery, where a quorum accepts an epoch once, and by synchronisation,
   where a quorum takes the leader's history. Nothing is committed before that.
4. Nothing is believed to be on disk before ``persisted`` says so: not the own acceptance of an epoch, not the own
   history, not the own copy of a proposal.
5. ZAB assumes FIFO channels. They are links inside the sessions of the caller, and every message that passes one is
   checked against its number; a gap or a repetition is counted and ends the link.
6. A message is checked before it changes anything; what no correct peer sends is counted, and ends the link.
"""

from ratified.consensus.zab.engine import Engine as Engine
from ratified.consensus.zab.messages import Message as Message
from ratified.consensus.zab.salvage import SALVAGER as SALVAGER
from ratified.consensus.zab.state import decode_state as decode_state
