"""Fuzzes the edge: no bytes of a client's make it raise, hang, or keep without bound.

    python -m tests.edge.fuzz frames|headers|calls|http1 [libFuzzer's options]

Guided by coverage (atheris, Linux only; ``make fuzz`` runs all of it). Inputs of interest are kept in the corpus; one
that fails is written to ``crash-...`` and can be given again as an argument.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["ratified.edge", "ratified.server.http1", "h11"]):
    from tests.edge.targets import CORPUS, TARGETS


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(__doc__)
    target = sys.argv.pop(1)
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    atheris.Setup([*sys.argv, str(CORPUS / target)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
