"""The contributor's page leads somewhere, and the hooks before a commit check what `make lint` does."""

import re

import yaml

PAGE = "CONTRIBUTING.md"
SCREEN = 60  # lines


def targets(checkout):
    return set(re.findall(r"^([a-z]+):", (checkout / "Makefile").read_text(), re.MULTILINE))


def test_it_is_one_screen(checkout):
    assert len((checkout / PAGE).read_text().splitlines()) <= SCREEN


def test_every_target_of_make_that_it_names_is_there(checkout):
    text = (checkout / PAGE).read_text()
    named = set(re.findall(r"`make ([a-z]+)", text))
    for words in re.findall(r"^make ((?:[a-z]+ ?)+)", text, re.MULTILINE):
        named |= set(words.split())
    assert {"venv", "test", "lint", "dashboards", "release"} <= named
    assert named - targets(checkout) == set()


def test_every_file_and_name_in_it_is_there(checkout):
    """A file by its path or by its name alone; a name in one of the files that the page speaks of."""
    text = (checkout / PAGE).read_text()
    told = set(re.findall(r"[\w./-]+\.(?:py|toml|md)\b", text)) | set(re.findall(r"ARGS=\"?([\w/]+)", text))
    tree = [path for folder in ("sidecar", "tests", "dashboards") for path in (checkout / folder).rglob("*")]
    files = {str(path.relative_to(checkout)) for path in tree} | {path.name for path in (*tree, *checkout.iterdir())}
    for name in told - {"decisions"}:  # which is the name of a measure
        assert any(file == name or file.endswith(f"/{name}") for file in files), name
    sources = "".join(path.read_text("utf-8") for path in tree if path.suffix == ".py")
    for name in re.findall(r"`(_?[A-Za-z_]+)`", text):
        assert name in {"detail"} | targets(checkout) or re.search(rf"\b{name}\b", sources) or name in files, name


def test_the_hooks_are_the_checks_of_make_lint(checkout):
    lint = re.findall(r"^\tcheck ([a-z-]+(?: check| format)?)", (checkout / "Makefile").read_text(), re.MULTILINE)
    (repository,) = yaml.safe_load((checkout / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [hook["entry"].removeprefix(".venv/bin/") for hook in repository["hooks"] if hook["id"] != "written"]
    assert repository["repo"] == "local", "nothing is fetched"
    assert [re.match(r"[a-z-]+(?: check| format)?", entry)[0] for entry in entries] == lint  # type: ignore[index]
    assert all(hook["entry"].startswith(".venv/bin/") for hook in repository["hooks"])
