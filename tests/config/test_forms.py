"""The forms of values: what each takes, and the rule that it names."""

import pytest

from sidecar.config import forms
from sidecar.config.forms import HostPort, UnixPath


@pytest.mark.parametrize(
    ("form", "written", "meant"),
    [
        (forms.host_port, "127.0.0.1:8321", HostPort("127.0.0.1", 8321)),
        (forms.host_port, "localhost:0", HostPort("localhost", 0)),
        (forms.host_port, "[::1]:65535", HostPort("::1", 65535)),
        (forms.address, "unix:/run/budget.sock", UnixPath("/run/budget.sock")),
        (forms.address, "0.0.0.0:1", HostPort("0.0.0.0", 1)),  # noqa: S104 - read, not bound
        (forms.address, "https://[::1]:1", HostPort("::1", 1, tls=True)),
        (forms.any_number(forms.host), "Budget.example, [::1]", ("budget.example", "::1")),
        (forms.any_number(forms.host), ["off"], ()),
        (forms.any_number(forms.host), "", ()),
        (forms.journal_url, "memory:", "memory:"),
        (forms.journal_url, "sqlite:////var/lib/j.db", "sqlite:////var/lib/j.db"),
        (forms.http_url, "http://collector:4318", "http://collector:4318"),
        (forms.http_url, "https://[::1]/tenant?x=1", "https://[::1]/tenant?x=1"),
        (forms.headers, "api-key=s, x = a%2Cb=c ,", (("api-key", "s"), ("x", "a,b=c"))),
        (forms.headers, {"api-key": "50%", "n": 1}, (("api-key", "50%"), ("n", "1"))),
        (forms.headers, "off", ()),
        (forms.file, __file__, __file__),
        (forms.duration, "900", 900.0),
        (forms.duration, 900, 900.0),
        (forms.duration, 0.5, 0.5),
        (forms.duration, "250ms", 0.25),
        (forms.duration, "15m", 900.0),
        (forms.duration, "24h", 86400.0),
        (forms.duration, "2d", 172800.0),
        (forms.size, "8388608", 8388608),
        (forms.size, 1024, 1024),
        (forms.size, "8Mi", 8388608),
        (forms.size, "500k", 500_000),
        (forms.size, "1GiB", 1 << 30),
        (forms.flag, True, True),
        (forms.flag, "off", False),
        (forms.flag, "YES", True),
        (forms.name, "reviewer", "reviewer"),
        (forms.whole(at_least=1), "200_000", 200_000),
        (forms.whole(at_least=0), 0, 0),
        (forms.choice("normal", "full"), "full", "full"),
        (forms.optional(forms.duration), "off", None),
        (forms.optional(forms.duration), "1h", 3600.0),
        (forms.several(forms.address), "[::1]:1, unix:/s", (HostPort("::1", 1), UnixPath("/s"))),
        (forms.several(forms.address), ["a:1", "a:1", "b:2"], (HostPort("a", 1), HostPort("b", 2))),
    ],
)
def test_a_form_reads_what_is_written(form, written, meant):
    assert form(written) == meant


@pytest.mark.parametrize(
    ("form", "written", "rule"),
    [
        (forms.host_port, "8321", "must be HOST:PORT"),
        (forms.host_port, "localhost:65536", "port of 0 to 65535"),
        (forms.host_port, "::1:80", "must be HOST:PORT"),
        (forms.host_port, 8321, "must be HOST:PORT"),
        (forms.address, "https://localhost", "must be HOST:PORT"),
        (forms.any_number(forms.host), "budget.example:80", "without a port, or off"),
        (forms.address, "unix:", "or unix:PATH"),
        (forms.address, "http://127.0.0.1:80", "or unix:PATH"),
        (forms.journal_url, "sqlite:///", "must be sqlite:///PATH, postgresql://USER@HOST/DATABASE or memory:"),
        (forms.journal_url, "/var/lib/j.db", "must be sqlite:///PATH, postgresql://USER@HOST/DATABASE or memory:"),
        (forms.http_url, "collector:4318", "must be a URL that begins with http:// or https://"),
        (forms.http_url, "grpc://collector:4317", "must be a URL"),
        (forms.http_url, "http://", "must be a URL"),
        (forms.http_url, "http://host:port", "must be a URL"),
        (forms.http_url, "http://[::1", "must be a URL"),
        (forms.http_url, "http://host/a b", "must be a URL"),
        (forms.http_url, 4318, "must be a URL"),
        (forms.headers, "api-key", "must be NAME=VALUE"),
        (forms.headers, "a b=c", "must be NAME=VALUE"),
        (forms.headers, "=c", "must be NAME=VALUE"),
        (forms.headers, "a=b%0Ac: d", "must be NAME=VALUE"),
        (forms.file, "/no/such", r"must be a file that can be read \(No such file or directory\)"),
        (forms.duration, "soon", "must be a duration such as"),
        (forms.duration, "15 minutes", "must be a duration such as"),
        (forms.duration, "-5", "must be a duration such as"),
        (forms.duration, "0s", "must be longer than 0 seconds"),
        (forms.duration, True, "must be a duration such as"),
        (forms.size, "much", "must be a size such as"),
        (forms.size, "0", "must be 1 byte or more"),
        (forms.size, True, "must be a size such as"),
        (forms.flag, "maybe", "must be true or false"),
        (forms.flag, 1, "must be true or false"),
        (forms.name, "", "must be 1 to 256 characters"),
        (forms.name, "a\nb", "none of them a control character"),
        (forms.name, "x" * 257, "must be 1 to 256 characters"),
        (forms.whole(at_least=1), "0", "whole number from 1 to"),
        (forms.whole(at_least=1), 1.5, "whole number from 1 to"),
        (forms.whole(at_least=1), "-1", "whole number from 1 to"),
        (forms.whole(at_least=1), True, "whole number from 1 to"),
        (forms.choice("normal", "full"), "fast", "must be normal or full"),
        (forms.optional(forms.duration), "later", "24h, or off"),
        (forms.several(forms.address), [], "must name at least one"),
        (forms.several(forms.address), "a:1,", "must be HOST:PORT"),
    ],
)
def test_a_form_names_its_rule_when_it_is_broken(form, written, rule):
    with pytest.raises(ValueError, match=rule):
        form(written)


@pytest.mark.parametrize("written", ["127.0.0.1:8321", "[::1]:0", "unix:/run/budget.sock"])
def test_an_address_is_shown_as_it_was_written(written):
    assert forms.address(written).text == written


def test_a_password_in_a_url_is_never_shown():
    assert forms.masked("postgresql://budget:s3cret@db:5432/x?sslmode=require") == (
        "postgresql://budget:***@db:5432/x?sslmode=require"
    )
    assert forms.masked("sqlite:////var/lib/j.db") == "sqlite:////var/lib/j.db"


@pytest.mark.parametrize(
    ("url", "as_shown"),
    [
        (
            "postgresql://db/x?user=u&password=s3cret&sslmode=require",
            "postgresql://db/x?user=u&password=***&sslmode=require",
        ),
        ("https://logs.example.com/in?api-key=s3cret", "https://logs.example.com/in?api-key=***"),
        ("https://logs.example.com/in?k=s3cret&stream=a#b", "https://logs.example.com/in?k=***&stream=***#b"),
        ("https://logs.example.com/in?s3cret", "https://logs.example.com/in?***"),
        ("https://logs.example.com/in?k=s3=cret==", "https://logs.example.com/in?k=***"),
        ("postgresql://budget:s3/cr@et#@db/x", "postgresql://budget:***@db/x"),
        ("postgresql://budget@db:5432,other:5433/x", "postgresql://budget@db:5432,other:5433/x"),
    ],
)
def test_nor_is_one_in_its_query_or_one_that_breaks_it(url, as_shown):
    assert forms.masked(url) == as_shown


@pytest.mark.parametrize("password", ["s3/cret", "1/s3cret", "s3?cret", "s3#cret"])
def test_a_password_that_breaks_the_journals_url_is_told(password):
    with pytest.raises(ValueError, match=r"percent-encoded \(/ as %2F\)"):
        forms.journal_url(f"postgresql://budget:{password}@db/x")


@pytest.mark.parametrize(
    "url",
    [
        "postgres://budget:s3%2Fc:r@et@db:5432/x?sslmode=require",
        "postgresql://u@a:5432,[::1]:5433,c/x?target_session_attrs=read-write",
        "postgresql:///x?host=/run/postgresql&user=u@h",
        "postgresql://db",
    ],
)
def test_what_postgresql_takes_for_a_url_is_taken(url):
    assert forms.journal_url(url) == url
