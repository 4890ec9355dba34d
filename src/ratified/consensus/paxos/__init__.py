"""Multi-Paxos, as a pure state machine behind the contract. ``docs/paxos.md`` goes through *Paxos Made Simple*.

Rules of this package:

1. One member is a ``Core`` (promise, own ballot, accepted values, chosen prefix) and all of the paper's roles at once:
   always ``Acceptor`` and ``Learner``; as a proposer ``Follower`` (idle), ``Candidate`` (phase 1) or ``Leader``
   (phase 2, the distinguished proposer). ``Paxos`` changes proposer roles; one never outlives its ballot.
2. Safety is the acceptor's promise and the proposer's choice of values; leading, heartbeats and back-off only make
   progress likely. Any number of proposers may believe that they lead.
3. Names are the paper's; an instance of its algorithm is a *slot*, and the index of an entry. A ballot is an era
   outside.
4. Nothing is believed to be on disk before ``persisted`` says so: not the own ballot, not the own promise, not the own
   copy of a value, not what is delivered.
5. A message is checked before it changes anything; what no correct peer sends is dropped and counted.
"""

from ratified.consensus.paxos.engine import Engine as Engine
from ratified.consensus.paxos.engine import Textbook as Textbook
from ratified.consensus.paxos.messages import Message as Message
from ratified.consensus.paxos.salvage import SALVAGER as SALVAGER
from ratified.consensus.paxos.state import decode_state as decode_state
