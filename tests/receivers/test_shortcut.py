import pytest

from sidecar.receivers import shortcut

ASK = {"component": "working_memory", "tokens": 10}


@pytest.fixture
def plain(monkeypatch):
    """The paths that are plain enough for the short way, as it is asked about them."""
    found = []
    look = shortcut._PLAIN

    def looked(path):
        match = look(path)
        found.extend([match[0]] if match else [])
        return match

    monkeypatch.setattr(shortcut, "_PLAIN", looked)
    return found


@pytest.mark.parametrize(
    ("name", "short"),
    [("s", True), ("0-a.b_c~d", True), ("a%2Fb", False), ("%C3%A9", False), ("-s", False), ("s:1", False)],
)
async def test_a_call_finds_its_session_whichever_way_it_takes(plain, call, name, short):
    assert (await call("PUT", f"/v1/sessions/{name}", {})).status == 201
    answer = await call("POST", f"/v1/sessions/{name}/allocations", ASK)
    assert (answer.status, answer.body["granted"]) == (200, 10)
    assert bool(plain) is short


async def test_a_way_that_was_found_is_remembered(plain, session, call):
    for tokens in (1, 2):
        answer = await call("POST", "/v1/sessions/s1/allocations", {**ASK, "tokens": tokens})
        assert answer.body["granted"] == tokens
    assert plain.count("/v1/sessions/s1/allocations") == 1


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/v1/sessions/s1/allocations", {"Expect": "100-continue"}, 200),
        ("POST", "/v1/sessions/s1/allocations?x=1", {}, 400),
        ("GET", "/v1/sessions/s1/allocations", {}, 405),
        ("POST", "/v1/sessions/s1/nothing", {}, 404),
        ("POST", "/v1/sessions/s2/allocations", {}, 404),
    ],
)
async def test_what_is_not_plain_is_answered_as_ever(session, call, method, path, headers, status):
    answer = await call(method, path, ASK if method == "POST" else None, **headers)
    assert answer.status == status
    if status >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
