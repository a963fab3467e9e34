from __future__ import annotations

from sightloop.testing.markdown import (
    anchor_of,
    code_of,
    fences_of,
    links_of,
    rows_of,
    sections_of,
)

PAGE = """# Page

See [this](a.md#b) and `code`.

## `one two`
| name | `meaning` |
|---|---|
| `a` | x \\| y |
| `b` |  |

```
# no heading `no code` [no](link)
| no | row |
```
text
### Last
end
"""


def test_headings_split_a_page_and_fences_hold_none() -> None:
    assert [(s.level, s.title) for s in sections_of(PAGE)] == [
        (1, "Page"),
        (2, "`one two`"),
        (3, "Last"),
    ]
    assert sections_of(PAGE)[1].body.endswith("text\n")


def test_rows_are_those_of_the_body_with_escaped_bars_kept() -> None:
    assert list(rows_of(PAGE)) == [("`a`", "x | y"), ("`b`", "")]


def test_code_links_and_fences_are_told_apart() -> None:
    assert code_of(PAGE) == ("code", "one two", "meaning", "a", "b")
    assert links_of(PAGE) == ("a.md#b",)
    assert fences_of(PAGE) == ("\n# no heading `no code` [no](link)\n| no | row |\n",)


def test_anchor_is_lower_case_with_dashes() -> None:
    assert anchor_of("`sightloop detect` IMAGE…") == "sightloop-detect-image"
