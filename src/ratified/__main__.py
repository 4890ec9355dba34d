"""``python -m ratified`` is the ``ratified`` command."""

from ratified.cli.main import main

main()
