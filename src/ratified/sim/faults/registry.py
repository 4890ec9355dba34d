"""All faults that the files beside this one define, and one run's."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module

from ratified.sim import faults
from ratified.sim.faults.fault import Fault, Injector


def _defined() -> Iterator[Fault]:
    for module in pkgutil.iter_modules(faults.__path__, f"{faults.__name__}."):
        if module.name != __name__:
            yield from (value for value in vars(import_module(module.name)).values() if isinstance(value, Fault))


FAULTS: dict[str, Fault] = {fault.name: fault for fault in sorted(_defined(), key=lambda fault: fault.name)}


def begin(injector: Injector, rates: Mapping[str, int]) -> None:
    """From now on things go wrong, each fault at its rate."""
    for name, fault in FAULTS.items():
        if name in rates:
            fault.begin(injector, injector.draws(name), rates[name])


def heal(injector: Injector) -> None:
    """No more faults; what is broken is mended, and every machine runs."""
    injector.over = True
    for fault in sorted(FAULTS.values(), key=lambda fault: fault.heals):
        fault.heal(injector)
