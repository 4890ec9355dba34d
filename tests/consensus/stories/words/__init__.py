"""How each protocol's messages and states read in a story: one ``Words`` an engine."""

from tests.consensus.stories.words import paxos, raft, zab
from tests.consensus.stories.words.shape import Words

WORDS: dict[str, Words] = {"raft": raft.WORDS, "paxos": paxos.WORDS, "zab": zab.WORDS}
