"""nbval: what it does not compare. Numbers in HTML and in records differ in the last digits between processors;
what must not differ (verdicts, counts, ids, shapes) stands in plain text, which is compared."""


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("text/html", "application/vnd.adaptlab+json")
