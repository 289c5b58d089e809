"""The files for Prometheus and Grafana. tests/serve/test_metrics.py runs them on a real server."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.checkpoints.resolve import ROOT
from tests.deploy.manifests import documents
from tests.prometheus import FOLDER, program

TESTS = Path(__file__).with_name("alerts.test.yml")
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule["alert"] for rule in RULES]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", FOLDER / "prometheus.yml"),
        ("check", "rules", FOLDER / "alerts.yml"),
        ("test", "rules", TESTS),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool_accepts(arguments: tuple[Any, ...]) -> None:
    done = subprocess.run([program("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not(alert: str) -> None:
    tests = [one for test in yaml.safe_load(TESTS.read_text())["tests"] for one in test["alert_rule_test"]]
    assert {bool(one["exp_alerts"]) for one in tests if one["alertname"] == alert} == {True, False}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_explained(alert: str) -> None:
    assert f"| `{alert}` |" in OPERATIONS


def test_pods_are_scraped_like_machines() -> None:
    (scrape,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    ((endpoint,),) = [one["spec"]["podMetricsEndpoints"] for one in documents("podmonitor.yaml")]
    assert endpoint["port"] in {port["name"] for port in worker_ports()}
    assert camel_case(scrape["metric_relabel_configs"]) == endpoint["metricRelabelings"]
    assert camel_case(scrape["relabel_configs"]) == endpoint["relabelings"]


def camel_case(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules with the names of the Prometheus Operator."""
    names = {"source_labels": "sourceLabels", "target_label": "targetLabel"}
    return [{names.get(key, key): value for key, value in rule.items()} for rule in rules]


def worker_ports() -> list[dict[str, Any]]:
    cluster = documents("rayservice.yaml")[0]["spec"]["rayClusterConfig"]
    ports: list[dict[str, Any]] = cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["ports"]
    return ports


def test_the_panels_of_the_dashboard_have_numbers_places_and_descriptions_of_their_own() -> None:
    panels = json.loads((ROOT / "deploy" / "grafana" / "munjang.json").read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    assert all(panel["type"] == "row" or panel["description"] for panel in panels)
