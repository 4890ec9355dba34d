"""The engines beside one another, in the simulator: the tables and the figure of ``docs/comparison.md``.

Prints the tables in Markdown, scenario by scenario. With ``--page`` it writes them, and the figure, into the page: what
stands between two comments there is this program's, the rest is for people to write.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ratified.cli.compare import all_runs, rows_of
from ratified.cli.plot import draw
from ratified.compare.comparison import PLANS, Measured, Summary, summarize
from ratified.consensus.engines import ENGINES

PAGE = Path(__file__).parents[1] / "docs" / "comparison.md"
FIGURE = PAGE.with_suffix(".png")
DRAWN = "leader-crash"
NODES = 3


def measured(scenario: str, seeds: int, processes: int) -> dict[str, list[Measured]]:
    """All runs of a scenario, by engine."""
    runs: dict[str, list[Measured]] = {engine: [] for engine in ENGINES}
    jobs = [(engine, scenario, seed, NODES) for seed in range(1, seeds + 1) for engine in ENGINES]
    for run in all_runs(jobs, processes):
        runs[run.engine].append(run)
    return runs


def table(summaries: list[Summary]) -> str:
    """In Markdown."""
    lines = [("", [summary.engine for summary in summaries]), *rows_of(summaries)]
    drawn = [f"| {heading.strip()} | {' | '.join(cells)} |" for heading, cells in lines]
    return "\n".join([drawn[0], f"| --- |{' ---: |' * len(summaries)}", *drawn[1:]])


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description="Compare the engines in the simulator.")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each engine and scenario (default: %(default)s)")
    parser.add_argument("--page", action="store_true", help="write docs/comparison.md and its figure")
    wanted = parser.parse_args()
    for scenario, plan in PLANS.items():
        runs = measured(scenario, wanted.seeds, os.cpu_count() or 1)
        summaries = [summarize(runs[engine]) for engine in ENGINES]
        text = f"`ratified compare --scenario {scenario} --seeds {wanted.seeds}`\n\n{table(summaries)}"
        print(f"{text}\n", flush=True)
        if wanted.page:
            before, begin, rest = PAGE.read_text().partition(f"<!-- {scenario} -->\n")
            _, end, after = rest.partition(f"<!-- /{scenario} -->\n")
            assert end, f"{PAGE} has no place for {scenario}"
            PAGE.write_text(f"{before}{begin}{text}\n{end}{after}")
            if scenario == DRAWN:
                draw(FIGURE, plan, f"{scenario}, {NODES} nodes, {wanted.seeds} runs of each engine", summaries, runs)


if __name__ == "__main__":
    main()
