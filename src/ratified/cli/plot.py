"""The figure of ``ratified compare``: latencies, the course of time, and what a commit costs. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ratified.compare.comparison import BEGIN_US, Measured, Plan, Summary

BIN_US = 100_000
SIZE_INCHES = (9.0, 6.4)
DOTS_PER_INCH = 100


def draw(file: Path, plan: Plan, title: str, summaries: Sequence[Summary], runs: dict[str, list[Measured]]) -> None:
    """Write the figure; the file's ending says its format. Raises ``OSError``."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    (course, latency), (messages, size) = figure.subplots(2, 2)
    for number, summary in enumerate(summaries):
        _draw_course(course, plan, summary.engine, runs[summary.engine], f"C{number}")
        _draw_latency(latency, summary.engine, runs[summary.engine], f"C{number}")
    course.set(title="acknowledged writes", xlabel="seconds of the load", ylabel="a second")
    course.legend()
    if plan.fault is not None:
        course.axvspan(plan.fault_us / 1e6, plan.fault_ends_us / 1e6, color="0.9", zorder=0, label=plan.fault.value)
    latency.set(title="commit latency", xlabel="milliseconds", ylabel="% of writes", xscale="log")
    engines = [summary.engine for summary in summaries]
    colours = [f"C{number}" for number in range(len(summaries))]
    _draw_bars(messages, engines, [summary.messages_per_commit for summary in summaries], colours, "{:.2f}")
    messages.set(title="messages per commit")
    _draw_bars(size, engines, [summary.wire_bytes_per_commit for summary in summaries], colours, "{:.0f}")
    size.set(title="bytes sent per commit")
    # No date and no version go into the file: the same numbers give the same bytes.
    figure.savefig(file, metadata={"Software": None} if file.suffix == ".png" else {"Creator": None})


def _draw_course(axes: Axes, plan: Plan, engine: str, runs: Sequence[Measured], colour: str) -> None:
    """The mean over all runs, a tenth of a second at a time."""
    counts = [0] * (plan.load_us // BIN_US)
    for run in runs:
        for written in run.writes:
            place = (written.done_us - BEGIN_US) // BIN_US
            if place < len(counts):
                counts[place] += 1
    seconds = [place * BIN_US / 1e6 for place in range(len(counts))]
    axes.step(seconds, [count / len(runs) * 1e6 / BIN_US for count in counts], color=colour, label=engine, where="post")


def _draw_latency(axes: Axes, engine: str, runs: Sequence[Measured], colour: str) -> None:
    """How many of all writes were done within how long."""
    latencies = sorted(written.latency_us for run in runs for written in run.writes)
    step = max(len(latencies) // 1000, 1)
    shown = latencies[::step]
    percents = [100 * place * step / len(latencies) for place in range(len(shown))]
    axes.plot([us / 1000 for us in shown], percents, color=colour, label=engine)


def _draw_bars(axes: Axes, engines: Sequence[str], values: Sequence[float], colours: Sequence[str], form: str) -> None:
    bars = axes.bar(engines, values, color=colours)
    axes.bar_label(bars, labels=[form.format(value) for value in values], padding=2)
    axes.margins(y=0.15)
