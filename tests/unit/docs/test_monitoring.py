"""docs/monitoring is true: the table is METRICS, rules and queries name what there is, promtool takes the files."""

import json
import re

import pytest
import yaml

from ingestd.telemetry.loop_phases import PHASES
from ingestd.telemetry.metrics import METRICS
from tests.support.monitoring import FOLDER, table, with_table
from tests.support.scrape import promtool


def known_series() -> set[str]:
    names = set(re.findall(r"^\| `(\w+)`", table(), re.M)) | {"up"}
    for name, metric in METRICS.items():
        names |= {f"{name}_{part}" for part in ("bucket", "count", "sum")} if metric.kind == "histogram" else set()
    return names


def expressions() -> list[str]:
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    variables = [row["query"]["query"] for row in dashboard["templating"]["list"] if row["type"] == "query"]
    return [rule["expr"] for rule in rules] + panels + variables


def test_the_table_of_metrics_is_that_of_the_source():
    text = (FOLDER / "README.md").read_text()
    assert text == with_table(text), "run python -m tests.support.monitoring"


def test_rules_and_queries_name_metrics_and_labels_that_there_are():
    known = known_series()
    for expression in expressions():
        names = set(re.findall(r"\b(?:ingestd_|process_)\w+|\bup\b", expression))
        assert names and names <= known, expression
        for name, matchers in re.findall(r"\b(ingestd_\w+)\{([^}]*)\}", expression):
            metric = METRICS[re.sub("_(bucket|count|sum)$", "", name) if name not in METRICS else name]
            assert set(re.findall(r"(\w+)=", matchers)) <= {*metric.labels, "job", "instance", "le"}, expression


def test_every_metric_is_on_the_dashboard_or_in_a_rule_or_is_for_looking_up():
    shown = " ".join(expressions())
    assert {name for name in METRICS if name not in shown} == set()


def test_the_phases_of_the_guide_are_those_of_the_loop():
    text = (FOLDER / "README.md").read_text().split("## All metrics")[0]
    guide = set(
        re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`(?:waiting|process|produce|poll).*?) \|", text, re.M)))
    )
    assert guide == {*PHASES, "waiting"}


def test_each_alert_says_what_to_do():
    for rule in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]:
        assert rule["annotations"]["summary"], rule["alert"]
        assert "action" in rule["annotations"] or rule["alert"] == "ServiceErrors", rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")


@pytest.mark.parametrize(
    "words",
    [("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml"), ("check", "config", "prometheus.yml")],
)
def test_promtool_takes_the_files(words: tuple[str, str, str]):
    promtool(*words[:2], str(FOLDER / words[2]))


def test_panels_of_the_dashboard_have_numbers_and_places_of_their_own():
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
