"""Lines that every Prometheus reads back to the same numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics

from sidecar.exporters.metric import Metric
from sidecar.exporters.series import Counted, Distributed, exemplar, exposition, number
from tests.exporters.scraping import read

COUNTER = Metric(name="eaten_total", kind="counter", help="Eaten.", feeds="", labels={"who": (), "what": ()})
GAUGE = Metric(name="warmth_ratio", kind="gauge", help="How warm.", feeds="", labels={"who": ()}, unit="ratio")
HISTOGRAM = Metric(
    name="wait_seconds",
    kind="histogram",
    help="Waited.",
    feeds="",
    labels={"who": ()},
    unit="seconds",
    buckets=(0.01, 1.0),
)
# A carriage return ends a line for the official parser of the text format, which Prometheus' own does not mind.
names = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=9)
values = st.floats(allow_nan=False, min_value=0, max_value=1e12)


def both(family, *, openmetrics):
    return exposition(family, openmetrics=openmetrics) + ("# EOF\n" if openmetrics else "")


@pytest.mark.parametrize("openmetrics", [False, True])
@given(eaten=st.dictionaries(st.tuples(names, names), values, max_size=5))
def test_a_counter_reads_as_prometheus_client_writes_it(openmetrics, eaten):
    registry = CollectorRegistry()
    theirs = Counter("eaten", "Eaten.", ["who", "what"], registry=registry)
    ours = Counted(COUNTER)
    for labels, amount in eaten.items():
        theirs.labels(*labels).inc(amount)
        ours[labels].add(amount)
    expected = (generate_openmetrics if openmetrics else generate_latest)(registry).decode()
    expected = "\n".join(line for line in expected.split("\n") if "_created" not in line)
    assert (
        read(both(ours, openmetrics=openmetrics), openmetrics=openmetrics).samples
        == read(expected, openmetrics=openmetrics).samples
    )


@pytest.mark.parametrize("openmetrics", [False, True])
@given(waited=st.lists(values))
def test_a_histogram_reads_as_prometheus_client_writes_it(openmetrics, waited):
    registry = CollectorRegistry()
    theirs = Histogram(
        "wait_seconds", "Waited.", ["who"], buckets=HISTOGRAM.buckets, registry=registry, unit="seconds"
    ).labels("me")
    ours = Distributed(HISTOGRAM)
    mine = ours["me",]
    for value in waited:
        theirs.observe(value)
        mine.observe(value)
    expected = (generate_openmetrics if openmetrics else generate_latest)(registry).decode()
    expected = "\n".join(line for line in expected.split("\n") if "_created" not in line)
    text = both(ours, openmetrics=openmetrics)
    assert read(text, openmetrics=openmetrics).samples == read(expected, openmetrics=openmetrics).samples
    assert text.splitlines()[:2] == expected.splitlines()[:2], "HELP and TYPE"


@given(warmth=st.floats())
def test_a_gauge_keeps_its_value_to_the_last_bit(warmth):
    registry = CollectorRegistry()
    Gauge("warmth_ratio", "How warm.", ["who"], registry=registry).labels("me").set(warmth)
    ours = Counted(GAUGE)
    ours["me",].value = warmth
    (value,) = read(both(ours, openmetrics=False)).samples.values()
    (expected,) = read(generate_latest(registry).decode()).samples.values()
    assert value == expected == warmth or (math.isnan(value) and math.isnan(warmth))


def test_a_value_on_a_bound_belongs_to_its_bucket():
    ours = Distributed(HISTOGRAM)
    for value in (0.01, 1.0, 1.0000001):
        ours["me",].observe(value)
    lines = both(ours, openmetrics=False).splitlines()[2:]
    assert lines == [
        'wait_seconds_bucket{who="me",le="0.01"} 1',
        'wait_seconds_bucket{who="me",le="1.0"} 2',
        'wait_seconds_bucket{who="me",le="+Inf"} 3',
        'wait_seconds_count{who="me"} 3',
        'wait_seconds_sum{who="me"} 2.0100001',
    ]


def test_what_is_unknown_is_absent():
    ours = Counted(GAUGE)
    ours["me",].value = None
    assert both(ours, openmetrics=False) == "# HELP warmth_ratio How warm.\n# TYPE warmth_ratio gauge\n"


def test_a_series_begins_at_zero_when_it_is_asked_for():
    ours = Counted(COUNTER)
    assert ours.get(("a", "b")) is None
    ours["a", "b"]
    assert both(ours, openmetrics=False).splitlines()[2:] == ['eaten_total{who="a",what="b"} 0']


@pytest.mark.parametrize("hostile", ['"', "\\", "\n", '\\"', "\\n", "} 1\neaten_total 5", "ä☃"])
def test_no_label_value_can_break_out_of_its_line(hostile):
    ours = Counted(COUNTER)
    ours[hostile, "b"].add(2)
    for openmetrics in (False, True):
        samples = read(both(ours, openmetrics=openmetrics), openmetrics=openmetrics).samples
        assert samples == {("eaten_total", (("what", "b"), ("who", hostile))): 2}


def test_openmetrics_names_families_without_suffix_and_says_the_unit():
    ours = Counted(COUNTER)
    assert both(ours, openmetrics=True).startswith("# HELP eaten Eaten.\n# TYPE eaten counter\n")
    assert "# UNIT warmth_ratio ratio\n" in both(Counted(GAUGE), openmetrics=True)
    info = Counted(Metric(name="build_info", kind="info", help="Built.", feeds="", labels={"version": ()}))
    info["1",].value = 1
    assert "# TYPE build info\n" in both(info, openmetrics=True)
    assert "# TYPE build_info gauge\n" in both(info, openmetrics=False)
    assert '\nbuild_info{version="1"} 1\n' in both(info, openmetrics=True)


def test_exemplars_show_in_openmetrics_only_and_are_read_back():
    ours, counted = Distributed(HISTOGRAM), Counted(COUNTER)
    ours["me",].observe(0.5, exemplar({"trace_id": "abc", "span_id": "de"}, 0.5, 1_800_000_000.25))
    counted["a", "b"].exemplar = exemplar({"trace_id": "abc"}, 1, 1_800_000_000.25)
    for family in (ours, counted):
        assert "trace_id" not in both(family, openmetrics=False)
        (read_back,) = read_openmetrics(both(family, openmetrics=True))
        (found,) = (sample.exemplar for sample in read_back.samples if sample.exemplar)
        assert found.labels["trace_id"] == "abc"
        assert float(found.timestamp) == 1_800_000_000.25
    assert exemplar({}, 1, 2) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (200_000, "200000"), (0.5, "0.5"), (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN")],
)
def test_numbers_are_written_as_prometheus_reads_them(value, text):
    assert number(value) == text
