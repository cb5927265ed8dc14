"""What the benchmarks share: turns, ratios with intervals, and the table that they write."""

import yaml

from benchmarks import beside

PART = {"commit": "0123456789ab", "threads": 2, "others": 0.25, "rows": {"a peer": {"clock": [2.0, 1.5, 2.5]}}}


def test_all_take_turns_and_each_round_begins_with_another():
    assert list(beside.turns("ab", 3)) == [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]


def test_a_ratio_is_a_geometric_mean_of_pairs_with_its_interval():
    # Student's t for 2 degrees of freedom: 4.303; the logs' standard error is ln 2 / sqrt 3
    found = beside.ratio([(1, 3), (4, 6), (2, 6)], of=[(1, 1), (1, 2), (1, 2)])
    assert found == {"clock": [2.0, 0.357, 11.2], "cpu": [3.0, 3.0, 3.0], "rounds": 3}
    assert beside.ratio([(6, 6)], of=[(2, 3)]) == {"clock": [3.0], "cpu": [2.0], "rounds": 1}


def test_growth_is_the_power_of_the_processors_time(monkeypatch):
    seconds = {size: 0.1 * size**1.5 for size in (1, 2, 4)}
    monkeypatch.setattr(beside, "timed", lambda run: ((0.0, run()), None))
    found = beside.growth({size: lambda s=spent: s for size, spent in seconds.items()}, 2)
    assert found == {"slope": [1.5, 1.5, 1.5], "sizes": [1, 2, 4], "rounds": 2}


def test_a_run_replaces_the_part_of_its_machine_alone():
    text = ""
    for machine, name, threads in (("x", "search", 1), ("y", "scoring", 1), ("x", "scoring", 1), ("x", "search", 2)):
        text = beside.with_part(text, machine, name, PART | {"threads": threads})
    table = yaml.safe_load(text)
    assert text.startswith(beside.HEAD) and list(table["x"]) == ["scoring", "search"]
    assert {(m, n): part["threads"] for m, parts in table.items() for n, part in parts.items()} == {
        ("x", "scoring"): 1,
        ("x", "search"): 2,
        ("y", "scoring"): 1,
    }
    assert table["y"]["scoring"] == PART | {"threads": 1}


def test_the_machine_is_told_in_words_without_its_name():
    assert beside.platform.node() not in beside.machine().split()
    assert all(word in beside.machine() for word in ("cores", "AVX-512 ", "products in bfloat16 ", "AMX "))


def test_the_table_of_the_kit_is_as_the_command_wrote_it_from_a_commit():
    text = beside.TABLE.read_text(encoding="utf-8")
    for machine, parts in yaml.safe_load(text).items():
        for name, part in parts.items():
            assert beside.with_part(text, machine, name, part) == text
            assert len(part["commit"]) == 12 and part["rows"], (machine, name)
