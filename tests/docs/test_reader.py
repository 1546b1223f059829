"""The reader who follows pages notices what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import test_pages
from tests.docs.pages import DOCS, Block, Reader, blocks, command_lines

PAGE = DOCS / "made-up.md"


def block(language: str, body: str, title: str = "") -> Block:
    return Block(PAGE, 7, language, title, body)


def test_blocks_are_found_with_their_lines_titles_and_languages(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '# Title\n\n```python title="a/b.py"\nx = 1\n```\n\n```\nno language\n```\n\n```bash\nrobustiqa\n```\n'
    )
    assert list(blocks(page)) == [
        Block(page, 4, "python", "a/b.py", "x = 1\n"),
        Block(page, 12, "bash", "", "robustiqa\n"),
    ]


def test_command_lines_go_on_after_a_backslash_and_leave_comments_out() -> None:
    found = list(command_lines(block("bash", "robustiqa a \\\n    'b c'  # why\n\nrobustiqa d\n")))
    assert found == [["robustiqa", "a", "b c"], ["robustiqa", "d"]]


def test_a_file_is_saved_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Reader().follow(block("python", "raise SystemExit\n", title="deep/er.py"))
    assert (tmp_path / "deep" / "er.py").read_text() == "raise SystemExit\n"


def test_python_blocks_share_a_session_and_text_is_compared_but_for_numbers() -> None:
    reader = Reader()
    reader.follow(block("python", "x = 1.25\n"))
    reader.follow(block("python", "print('score', x)\n"))
    reader.follow(block("text", "score   -3.5e-7\n...\n"))
    with pytest.raises(AssertionError, match=r"^docs/made-up\.md, line 7: 'scores 1\.25' is not in what was printed"):
        reader.follow(block("text", "scores 1.25\n"))


def test_an_error_in_python_is_told_with_the_line_of_the_page() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        Reader().follow(block("python", "x = 1\nx / 0\n"))
    assert caught.traceback[-1].lineno == 7  # counted from 0: line 8 of the page


@pytest.mark.parametrize(
    ("language", "body", "said"),
    [
        ("bash", "rm -r photos\n", "only robustiqa is run here, not 'rm'"),
        ("bash", "robustiqa list nothing\n", "exit code 2 of robustiqa list nothing"),
        ("toml", "a = 1\n", "a block of 'toml' needs a title"),
    ],
)
def test_what_can_not_be_followed_is_told_with_its_place(language: str, body: str, said: str) -> None:
    with pytest.raises(AssertionError, match=rf"^docs/made-up\.md, line 7: .*{said}"):
        Reader().follow(block(language, body))


@pytest.mark.parametrize("line", ["robustiqa scored photo.jpg", "robustiqa score --no-such-option photo.jpg"])
def test_a_command_line_of_another_version_is_found(line: str) -> None:
    assert len(test_pages.refused(block("bash", f"{line}\nrobustiqa score photo.jpg\n"))) == 1


def test_a_name_of_another_version_is_found() -> None:
    body = (
        "import robustiqa as riq\nfrom robustiqa.core.errors import InputError, NoError\nriq.create_model, riq.make\n"
    )
    assert test_pages.unknown_names(block("python", body)) == ["robustiqa.core.errors.NoError", "riq.make"]


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A heading, *here*\n")
    page = tmp_path / "page.md"
    page.write_text("[a](other.md#a-heading-here) [b](other.md#none) [c](none.md) [d](https://host/none) [e](#none)\n")
    assert test_pages.dead_links(page) == ["other.md#none", "none.md", "#none"]
