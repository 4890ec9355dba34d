"""What a scraper of Prometheus is told by a node."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from ratified.testing.processes import LocalNode

Labels = tuple[tuple[str, str], ...]


def page(node: LocalNode) -> str:
    with urllib.request.urlopen(f"http://{node.endpoint}/metrics", timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=")
        text: str = answer.read().decode()
    return text


def metrics(node: LocalNode) -> dict[tuple[str, Labels], float]:
    """Its values, by name and labels."""
    families = text_string_to_metric_families(page(node))
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }
