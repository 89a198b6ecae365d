"""What becomes of a page of docs/ on its way into the site."""

from __future__ import annotations

import pytest

from forcegate_docs.carried import carried, reports, rewritten
from forcegate_docs.github_lists import with_python_markdown_lists
from forcegate_docs.navigation import completed


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        pytest.param("a.md", "[b](b.md#c)", "[b](b.md#c)", id="within docs"),
        pytest.param("howto/a.md", "[b](../b.md)", "[b](../b.md)", id="within docs, from below"),
        pytest.param(
            "a.md",
            "[changes](../CHANGELOG.md)",
            "[changes](repository/CHANGELOG.md)",
            id="to a page that the site carries",
        ),
        pytest.param(
            "repository/deploy/README.md",
            "[keys](../docs/keys.md)",
            "[keys](../../keys.md)",
            id="from a page that the site carries",
        ),
        pytest.param(
            "a.md",
            "[a recipe](../datasets/forcegate_v3.sh)",
            "a recipe (`datasets/forcegate_v3.sh` in the repository)",
            id="to a file that the site lacks",
        ),
        pytest.param(
            "a.md",
            "[deploy/x.yml](../deploy/x.yml)",
            "deploy/x.yml",
            id="to one that its text names",
        ),
        pytest.param("a.md", "[x](https://x.org/y)", "[x](https://x.org/y)", id="elsewhere"),
        pytest.param("a.md", "[x](#y)", "[x](#y)", id="within the page"),
        pytest.param("a.md", "`C[N+]([O-])=O`", "`C[N+]([O-])=O`", id="code"),
    ],
)
def test_a_link_leads_to_where_the_site_has_its_file(page: str, link: str, expected: str) -> None:
    assert rewritten(f"See {link}.", page) == f"See {expected}."


def test_generated_pages_keep_their_links() -> None:
    assert rewritten("[x](../y.md)", "generated/openapi.md") == "[x](../y.md)"


def test_lists_are_written_as_python_markdown_wants_them() -> None:
    github = "Text:\n- one\n  more\n\n1. first\n\n   ```bash\n   ls\n   ```\n\n2. second\n## Next"
    assert with_python_markdown_lists(github) == (
        "Text:\n\n- one\n    more\n\n1. first\n\n    ```bash\n    ls\n    ```\n\n"
        "2. second\n\n## Next"
    )


def test_code_is_not_mistaken_for_a_list() -> None:
    code = "```yaml\nkey:\n- one\n  two\n```\ntext"
    assert with_python_markdown_lists(code) == code


def test_every_version_with_a_report_is_in_the_navigation_the_newest_first() -> None:
    listed = [target for entry in reports() for target in entry.values()]
    assert listed
    assert {name.removeprefix("repository/") for name in listed} == {
        name for name in carried() if name.endswith("report/report.md")
    }


def test_only_pages_that_may_be_missing_are_left_out_of_the_navigation(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    docs = tmp_path_factory.mktemp("docs")
    (docs / "here.md").write_text("# Here")
    nav = [{"A": "here.md"}, {"B": [{"C": "may.md"}, {"D": "must.md"}]}, {"Reports": []}]
    assert completed(nav, str(docs), {"may.md", "here.md"}, [{"m 1": "r.md"}]) == [
        {"A": "here.md"},
        {"B": [{"D": "must.md"}]},
        {"Reports": [{"m 1": "r.md"}]},
    ]
