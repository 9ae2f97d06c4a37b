"""What deploy/grafana and deploy/prometheus ask for is what the processes serve, and both programs would take the files."""

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.documented import documented, series

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "livermore.json").read_text())
RULES_FILE = DEPLOY / "prometheus" / "livermore-alerts.yml"
RULES: list[dict[str, Any]] = [rule for group in yaml.safe_load(RULES_FILE.read_text())["groups"] for rule in group["rules"]]
CONFIG: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
SERVED = {"up": frozenset[str]()} | series(set().union(*documented().values()))
"""Every series -> its labels; tests/livermore/test_metrics.py and test_telemetry.py compare that list with the processes."""
OF_PROMETHEUS = {
    "job",
    "instance",
    *(relabel["target_label"] for job in CONFIG["scrape_configs"] for relabel in job.get("relabel_configs", [])),
}
OF_GRAFANA = {"$__rate_interval": "5m", "$exchange": ".*", "$datasource": "x"}
KINDS = {"timeseries", "heatmap", "state-timeline", "stat", "row"}
WIDTH = 24


def panels() -> list[dict[str, Any]]:
    return [panel for one in BOARD["panels"] for panel in (one, *one.get("panels", []))]


def asked() -> Iterator[tuple[str, str]]:
    """(who asks, query)"""
    for panel in panels():
        for target in panel.get("targets", []):
            query = target["expr"]
            for name, value in OF_GRAFANA.items():
                query = query.replace(name, value)
            yield f"{panel['title']} {target['refId']}", query
    for rule in RULES:
        yield rule["alert"], rule["expr"]


def walked(node: Any) -> Iterator[Any]:
    """An expression and all within it."""
    yield node
    for name in ("expr", "lhs", "rhs", "param", "args", "vector_selector", "vs"):
        inner = getattr(node, name, None)
        for one in inner if isinstance(inner, list) else [inner]:
            if isinstance(one, promql_parser.Expr | promql_parser.VectorSelector):
                yield from walked(one)


def selectors(query: str) -> dict[str, set[str]]:
    """Series that a query asks for -> the labels it names with them."""
    found: dict[str, set[str]] = {}
    for node in walked(promql_parser.parse(query)):
        if isinstance(node, promql_parser.VectorSelector):
            found.setdefault(str(node.name), set()).update(matcher.name for matcher in node.matchers.matchers)
    return found


@pytest.mark.parametrize(("who", "query"), [pytest.param(*one, id=one[0]) for one in asked()])
def test_it_asks_for_what_is_served(who: str, query: str) -> None:
    found = selectors(query)
    assert found, "a query that asks for nothing"
    assert set(re.findall(r"\b(?:livermore|process|python)_\w+", query)) <= set(found), "the walk has missed a series"
    for name, labels in found.items():
        assert name in SERVED, f"{who}: {name}"
        assert labels <= SERVED[name] | OF_PROMETHEUS, f"{who}: {name} has no {labels - SERVED[name] - OF_PROMETHEUS}"
    grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", query) for label in group.split(",")}
    assert grouped <= OF_PROMETHEUS.union(*(SERVED[name] for name in found)), who


@pytest.mark.parametrize("query", ["sum(rate(livermore_nothing_total[5m])", "rate(livermore_feed_sockets)", "livermore_feed_sockets{"])
def test_the_parser_refuses_what_is_no_query(query: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        promql_parser.parse(query)


def test_counters_are_asked_for_as_rates_and_gauges_are_not() -> None:
    kinds = {row.name: row.kind for rows in documented().values() for row in rows}
    for who, query in asked():
        for node in walked(promql_parser.parse(query)):
            if isinstance(node, promql_parser.Call) and node.func.name in {"rate", "increase"}:
                (name,) = selectors(str(node.prettify()))
                assert kinds.get(name) == "counter" or name.endswith(("_bucket", "_sum", "_count")), f"{who}: {name}"


# Grafana


def test_panels_are_told_apart_and_of_kinds_that_grafana_brings() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids)) >= 25
    assert {panel["type"] for panel in panels()} <= KINDS
    titles = [panel["title"] for panel in panels()]
    assert len(titles) == len(set(titles))
    for panel in panels():
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            references = [target["refId"] for target in panel["targets"]]
            assert len(references) == len(set(references)) >= 1


def test_panels_lie_within_the_grid_and_on_none_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels():
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= WIDTH
        assert min(at["x"], at["y"]) >= 0 < min(at["w"], at["h"])
        for cell in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]


def test_the_dashboard_takes_the_data_source_that_is_chosen() -> None:
    variables = {one["name"]: one for one in BOARD["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert variables["exchange"]["datasource"] == chosen
    (name, label) = re.fullmatch(r"label_values\((\w+), (\w+)\)", variables["exchange"]["query"]["query"]).groups()  # type: ignore[union-attr]
    assert label in SERVED[name]
    for panel in panels():
        for one in (panel, *panel.get("targets", [])):
            assert one.get("datasource", chosen) == chosen, panel["title"]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(BOARD["panels"])))
    assert used - {"__rate_interval"} == set(variables)
    assert BOARD["schemaVersion"] >= 36
    assert BOARD["uid"] == "livermore"
    assert "id" not in BOARD, "an id is given by the Grafana that takes it in"


def test_it_shows_all_that_an_operator_has_to_see() -> None:
    shown = " ".join(name for who, query in asked() for name in selectors(query))
    for name in ("exchange_state", "publish_to_send", "commit_step", "queue_length", "rejected_frames", "rest_weight_left", "warmup_ratio",
                 "feed_sockets", "deliveries_waiting", "resident_memory", "event_loop_lag"):  # fmt: skip
        assert name in shown, name


def test_provisioning_finds_the_dashboard_and_prometheus() -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/livermore.yaml").read_text())["datasources"]
    assert (source["type"], source["access"], source["isDefault"]) == ("prometheus", "proxy", True)
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/livermore.yaml").read_text())["providers"]
    assert provider["type"] == "file"


# Prometheus


def test_each_rule_says_how_bad_it_is_and_what_happened() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        # What a text names has to come out of the query.
        grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for label in group.split(",")}
        named = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert named <= grouped | ({"job", "instance"} if "by (" not in rule["expr"] else set()), rule["alert"]


def test_there_is_a_rule_for_each_thing_that_can_go_wrong() -> None:
    names = {rule["alert"].removeprefix("Livermore") for rule in RULES}
    assert names >= {"ExchangeNotLive", "NoHeartbeat", "CommitSlow", "SocketsDropped", "DeliveryWaiting", "ProcessGone"}


PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine")
def test_promtool_takes_rules_and_configuration(tmp_path: Path) -> None:
    shutil.copy(RULES_FILE, tmp_path)
    (tmp_path / "token").write_text("x")
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    text = text.replace("/etc/prometheus/", f"{tmp_path}/").replace("/run/secrets/metrics_token", f"{tmp_path}/token")
    (tmp_path / "prometheus.yml").write_text(text)
    done = subprocess.run([str(PROMTOOL), "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout
