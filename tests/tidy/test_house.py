"""What a house has: a README in every folder, a licence, links that lead somewhere, one version."""

import re
import tomllib
from pathlib import Path

import pytest

import metering

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
WANTED = [
    "LICENSE", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "Makefile", "requirements.lock",
    "docs/start.md", "docs/flow.md", "docs/glossary.md", "docs/howto/operate.md", "docs/internals/checkpoint.md",
    "rating/README.md", "metering/README.md", "deploy/README.md",
]  # fmt: skip


def pages() -> list[Path]:
    folders = ("docs", "schemas", "rating", "metering", "deploy", "tests", "benchmarks")
    return sorted(ROOT.glob("*.md")) + sorted(page for folder in folders for page in (ROOT / folder).rglob("*.md"))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    heads = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken(page: Path) -> list[str]:
    found = []
    for link in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            found.append(f"{page.relative_to(ROOT)}: {link} does not exist")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
            found.append(f"{page.relative_to(ROOT)}: {link} has no such heading")
    return found


@pytest.mark.parametrize("name", WANTED)
def test_wanted_file_is_there_and_says_something(name: str) -> None:
    path = ROOT / name
    assert path.is_file(), f"{name} is missing"
    assert len(path.read_text().split()) >= 30, f"{name} says nothing"


def test_every_folder_of_metering_has_a_readme() -> None:
    folders = [path.parent for path in (ROOT / "metering").glob("*/__init__.py")]
    assert folders
    missing = [folder.name for folder in folders if not (folder / "README.md").is_file()]
    assert not missing, f"no README.md (owns / does not own / invariants) in metering/: {missing}"


def test_every_folder_of_metering_is_in_the_map() -> None:
    text = (ROOT / "metering" / "README.md").read_text()
    missing = [
        path.parent.name for path in (ROOT / "metering").glob("*/__init__.py") if f"`{path.parent.name}/`" not in text
    ]
    assert not missing, f"metering/README.md does not name {missing}"


def test_every_link_of_every_page_leads_somewhere() -> None:
    found = [wrong for page in pages() for wrong in broken(page)]
    assert not found, "\n".join(found)


def test_every_page_of_docs_is_reachable_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or not page.is_file():
            continue
        seen.add(page)
        links = [link.partition("#")[0] for link in LINK.findall(page.read_text()) if not re.match(r"[a-z]+:", link)]
        todo += [(page.parent / link).resolve() for link in links if link.endswith(".md")]
    lost = [str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md")) if page not in seen]
    assert not lost, f"no link leads to {lost}"


def test_licence_is_apache_2_in_full() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert len(text.splitlines()) > 190


def test_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metering.__version__ == project["version"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_lock_names_every_dependency_with_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements.lock").read_text()
    wanted = project["dependencies"] + [name for extra in project["optional-dependencies"].values() for name in extra]
    names = [re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!; ]", line)[0].lower()) for line in wanted]
    missing = [
        name for name in names if not re.search(rf"^{re.escape(name)}==\S+.*\\\n\s+--hash=sha256:", lock, re.MULTILINE)
    ]
    assert not missing, f"run `make lock`: {missing}"
