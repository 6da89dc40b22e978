"""Writes `deploy/grafana/recserve.json`: `python deploy/grafana/draw_dashboard.py`. A test holds the committed file to
it. Grafana itself draws it; here is only what it asks Prometheus."""

from itertools import count
from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FILE = Path(__file__).with_name("recserve.json")
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_HEIGHT, _WIDTH = 8, 8
"""Of a panel, in Grafana's grid of 24 columns."""


class Query(NamedTuple):
    """One expression, and what its lines are called."""

    expr: str
    legend: str


class Graph(NamedTuple):
    """One panel over time."""

    title: str
    unit: str
    """Grafana's name of it."""
    help: str
    queries: tuple[Query, ...]


ROWS: dict[str, tuple[Graph, ...]] = {
    "Traffic": (
        Graph(
            "Requests",
            "reqps",
            "Requests to each model, parts of releases and what was refused among them: tritonserver counts that too.",
            (Query("recserve:requests:rate5m", "{{model}}"),),
        ),
        Graph(
            "Refusals",
            "reqps",
            "Requests that got an error, by reason: invalid is the client's, queue_full and unavailable pass, internal "
            "is ours.",
            (Query("recserve:refusals:rate5m > 0", "{{model}} {{reason}}"),),
        ),
        Graph(
            "Restarts and servers",
            "short",
            "Restarts of tritonserver since recserve serve was started, and servers that can be read.",
            (
                Query("max by (instance) (recserve_server_restarts)", "restarts {{instance}}"),
                Query('sum(up{job="recserve"})', "servers"),
            ),
        ),
    ),
    "Latency": (
        Graph(
            "Latency at the edge",
            "ms",
            "Quantiles over all servers, from the edge's histograms.",
            tuple(
                Query(
                    f"histogram_quantile({quantile}, sum by (le) (rate(envoy_cluster_upstream_rq_time_bucket[5m])))",
                    f"p{100 * quantile:g}",
                )
                for quantile in (0.5, 0.95, 0.99)
            ),
        ),
        Graph(
            "Latency by model",
            "us",
            "The worst server's p99, as each server sums it up; what several servers say cannot be put together.",
            (Query('max by (model) (nv_inference_request_summary_us{quantile="0.99"})', "{{model}} p99"),),
        ),
        Graph(
            "Wait in the queue",
            "s",
            "Mean wait of a request before it is computed.",
            (Query("recserve:queue_seconds:mean5m", "{{model}}"),),
        ),
    ),
    "Scores": (
        Graph(
            "Stability index of an hour",
            "short",
            "Scores against the reference of the release: below 0.1 alike, above 0.25 another population. Of a "
            "reference out of example requests it tells little.",
            (Query("recserve:score_psi:1h", "{{model}} {{version}} ({{source}})"),),
        ),
        Graph(
            "Quantiles of scores",
            "short",
            "Of an hour, interpolated within the bins of the reference.",
            (Query("recserve:score_quantile:1h", "{{model}} {{version}} q{{quantile}}"),),
        ),
        Graph(
            "Unknown users and items",
            "percentunit",
            "Share of an hour's users of whom the release has nothing, and of candidates that it does not know.",
            (
                Query("recserve:unknown_users:ratio1h", "users {{model}}"),
                Query("recserve:unknown_items:ratio1h", "items {{model}}"),
            ),
        ),
    ),
    "States and histories": (
        Graph(
            "States that are found",
            "percentunit",
            "Share of users with a history whose state was in the store and fresh.",
            (Query("recserve:state_hits:ratio15m", "{{model}}"),),
        ),
        Graph(
            "Ages of states",
            "s",
            "Of the states that answered.",
            tuple(
                Query(
                    f"histogram_quantile({quantile}, sum by (model, le) "
                    "(rate(recserve_user_state_age_seconds_bucket[15m])))",
                    f"{{{{model}}}} p{100 * quantile:g}",
                )
                for quantile in (0.5, 0.95)
            ),
        ),
        Graph(
            "Events and histories",
            "ops",
            "Pushed events by outcome, and users' histories by what answered: live from the store, exported with the "
            "release, error.",
            (
                Query("sum by (outcome) (rate(recserve_user_events_total[5m])) > 0", "event {{outcome}}"),
                Query("sum by (outcome) (rate(recserve_user_history_reads_total[5m])) > 0", "history {{outcome}}"),
            ),
        ),
    ),
    "Steps inside ensembles": (
        Graph(
            "Time of a step",
            "s",
            "Mean of a run, which answers a dynamic batch.",
            (
                Query(
                    "sum by (model, step) (rate(recserve_step_seconds_total[5m])) "
                    "/ (sum by (model, step) (rate(recserve_step_runs_total[5m])) > 0)",
                    "{{model}} {{step}}",
                ),
            ),
        ),
        Graph(
            "Requests of a run",
            "short",
            "Mean size of the dynamic batches.",
            (
                Query(
                    "sum by (model, step) (rate(recserve_step_requests_total[5m])) "
                    "/ (sum by (model, step) (rate(recserve_step_runs_total[5m])) > 0)",
                    "{{model}} {{step}}",
                ),
            ),
        ),
        Graph(
            "Refusals of steps",
            "reqps",
            "The step that refused, where a model refuses.",
            (Query("sum by (model, step) (rate(recserve_step_refusals_total[5m])) > 0", "{{model}} {{step}}"),),
        ),
    ),
    "Edge and log": (
        Graph(
            "Servers behind the edge",
            "short",
            "Healthy ones, and all.",
            (
                Query(
                    "sum by (envoy_cluster_name) (envoy_cluster_membership_healthy)", "healthy {{envoy_cluster_name}}"
                ),
                Query("sum by (envoy_cluster_name) (envoy_cluster_membership_total)", "all {{envoy_cluster_name}}"),
            ),
        ),
        Graph(
            "Requests sent again by the edge",
            "reqps",
            "After a server failed or was gone.",
            (
                Query(
                    "sum by (envoy_cluster_name) (rate(envoy_cluster_upstream_rq_retry[5m]))", "{{envoy_cluster_name}}"
                ),
            ),
        ),
        Graph(
            "Log of requests",
            "ops",
            "Records that were written, dropped because the disk did not keep up, or failed.",
            (Query("sum by (outcome) (rate(recserve_request_log_records_total[5m]))", "{{outcome}}"),),
        ),
    ),
}
RELEASES = Query("max by (model, version, system, dataset, run) (recserve_release_info)", "")


def expressions() -> list[str]:
    """All that the dashboard asks Prometheus."""
    return [query.expr for row in ROWS.values() for graph in row for query in graph.queries] + [RELEASES.expr]


def drawn() -> str:
    """The dashboard as JSON."""
    made = (
        dashboard.Dashboard("recserve")
        .uid("recserve")
        .tags(["recserve"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").label("Prometheus"))
    )
    numbers = count(1)
    for title, graphs in ROWS.items():
        made = made.with_row(dashboard.Row(title).id(next(numbers)))
        for graph in graphs:
            made = made.with_panel(_graph(graph).id(next(numbers)))
    made = made.with_row(dashboard.Row("Releases").id(next(numbers))).with_panel(_releases().id(next(numbers)))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _graph(graph: Graph) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(graph.title)
        .description(graph.help)
        .datasource(_SOURCE)
        .unit(graph.unit)
        .legend(common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .height(_HEIGHT)
        .span(_WIDTH)
    )
    for letter, query in zip("ABC", graph.queries, strict=False):
        asked = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter)
        panel = panel.with_target(asked)
    return panel


def _releases() -> table.Panel:
    query = prometheus.Dataquery().expr(RELEASES.expr).instant().format(PromQueryFormat.TABLE).ref_id("A")
    return (
        table.Panel()
        .title("Releases that are loaded")
        .description("Of the two that stay loaded the higher version answers who names none.")
        .datasource(_SOURCE)
        .height(_HEIGHT)
        .span(3 * _WIDTH)
        .with_target(query)
    )


if __name__ == "__main__":
    FILE.write_text(drawn())
