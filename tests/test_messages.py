"""What users read is plain English, and every error has a test."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from invflow.cli.app import app
from tests.documented import PAGES, ROOT

SOURCE = ROOT / "src"
#: Phrases that make a native reader stumble, and what to write instead.
PHRASES = {
    r"so many": "number of, this many",
    r"way back": "backward pass",
    r"sets? aside": "held out, validation rows, test rows",
    r"(?<!there )(is|are|holds) no(?! (longer|more|less|fewer|larger|smaller|better|worse)\b)": (
        "is not a, has no"
    ),
    r"of everything random": "random seed",
    r"(goes|go|going|went) on": "continues, resumes",
    r"anew": "again, from scratch",
    r"goes first": "takes precedence",
    r"without a gain": "without improvement",
    r"none do": "never",
    r"in an order that says nothing": "shuffle the rows before writing",
    r"beforehand": "before, first",
    r"likewise": "also, too",
    r"by hand of": "with",
    r"passed over": "ignored",
    r"of no account": "ignored",
    r"(has|have) a say": "counts",
    r"at most so": "at most this many",
    r"in turns": "alternately",
    r"(there|where|here)by|therein": "so, by this, in it",
    r"of one's own": "your own",
    r"what is there": "observed values",
    r"as yet": "yet",
    r"nothing is known of": "has no",
    r"comes to": "results, reaches",
    r"so far as": "where, if",
    r"worth a word": "a note",
    r"makes out": "recognises",
    r"stands? for": "means, represents",
    r"(is|are) to be": "must be, is",
    r"(?<!the )share of": "fraction of",
    r"noted": "recorded",
    r"in words": "as text",
    r"told of every step": "called after every step",
}
BANNED = re.compile("|".join(rf"\b(?:{each})\b" for each in PHRASES), re.IGNORECASE)


def _plain(text: str) -> str:
    """Return a text on one line, without the marks of comments and without `names`."""
    return re.sub(r"`\w+`", "` `", re.sub(r"\s+(?:[#*]+:?\s+)?", " ", text))


def _prose(file: Path) -> Iterator[str]:
    """Yield the strings and the comments of a Python file; any other file whole."""
    if file.suffix != ".py":
        yield file.read_text(encoding="utf-8")
        return
    yield from _strings(_tree(file))
    yield from _comments(file)


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _strings(tree: ast.Module) -> Iterator[str]:
    """Yield the strings of a module, f-strings with gaps."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inside = {id(part) for node in nodes for part in node.values}
    yield from (_message(node, {}) for node in nodes)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside
        ):
            yield node.value


def _comments(file: Path) -> Iterator[str]:
    """Yield the comments of a Python file, those on consecutive lines together."""
    text, last = "", 0
    for token in tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            text = f"{text}\n{token.string}" if line == last + 1 else token.string
            last = line
        elif text and token.start[0] > last + 1:
            yield text
            text = ""
    yield text


FILES = sorted(
    [
        *PAGES,
        *ROOT.glob("examples/*.py"),
        *(path for kind in ("py", "md", "h", "c") for path in SOURCE.rglob(f"*.{kind}")),
    ]
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_prose_is_plain_english(file: Path) -> None:
    found = [
        text[max(match.start() - 40, 0) : match.end() + 20]
        for text in map(_plain, _prose(file))
        for match in BANNED.finditer(text)
    ]
    assert found == []


def _help(command: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield the help of a command, of its options, and of its subcommands."""
    yield name, command.help or ""
    for each in command.params:
        yield f"{name} {each.opts[0]}", getattr(each, "help", None) or ""
    for sub, other in getattr(command, "commands", {}).items():
        yield from _help(other, f"{name} {sub}")


def test_help_is_plain_english() -> None:
    helps = dict(_help(typer.main.get_command(app), "invflow"))
    assert len(helps) > 100
    assert {
        name: match[0] for name, text in helps.items() if (match := BANNED.search(_plain(text)))
    } == {}


@pytest.mark.parametrize(
    "text", ["Evaluations without a gain: 0: none do.", "x is no number", "so\n  # many rows"]
)
def test_the_test_finds_a_banned_phrase(text: str) -> None:
    assert BANNED.search(_plain(text))


@pytest.mark.parametrize("text", ["there is no compiler", "a winnow anewt", "it is no longer so"])
def test_the_test_leaves_ordinary_words_alone(text: str) -> None:
    assert not BANNED.search(_plain(text))


#: What an f-string inserts, and what a pattern leaves open.
GAP = "\0"
#: A message is recognised by this many of its words in a row.
WORDS = 3


def _errors(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the messages that a file raises, with their lines."""
    tree = _tree(file)
    constants = {
        name.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for name in node.targets
        if isinstance(name, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield node.lineno, GAP.join(_message(each, constants) for each in node.exc.args)


def _message(node: ast.expr, constants: dict[str, ast.expr]) -> str:
    """Return the text of an expression, with gaps where it is not fixed."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_message(part, {}) for part in node.values)
    if isinstance(node, ast.BinOp):
        return _message(node.left, constants) + _message(node.right, constants)
    if isinstance(node, ast.Name) and node.id in constants:
        return _message(constants[node.id], {})
    return GAP


def _runs(text: str, length: int = WORDS) -> set[tuple[str, ...]]:
    """Return the words in a row of the fixed parts of a text."""
    pieces = [re.findall(r"\w+", piece.lower()) for piece in text.split(GAP)]
    return {
        tuple(words[i : i + length]) for words in pieces for i in range(len(words) - length + 1)
    }


def _marks(messages: dict[str, str]) -> dict[str, set[tuple[str, ...]]]:
    """Return for each message the words in a row that fewest others have; short ones whole."""
    runs: dict[str, set[tuple[str, ...]]] = {}
    for place, text in messages.items():
        lengths = [n for n in range(WORDS, 0, -1) if _runs(text, n)]
        if lengths and re.search(r"[a-z]{3}", text):
            runs[place] = _runs(text, lengths[0])
    counts = Counter(
        run for each in {messages[place]: runs[place] for place in runs}.values() for run in each
    )
    return {
        place: {run for run in each if counts[run] == min(counts[other] for other in each)}
        for place, each in runs.items()
    }


@cache
def _tested() -> set[tuple[str, ...]]:
    """Return the words in a row of all strings of the tests, of patterns as what they match."""
    found: set[tuple[str, ...]] = set()
    for file in set((ROOT / "tests").rglob("*.py")) - {Path(__file__)}:
        for text in _strings(_without_docstrings(_tree(file))):
            plain = re.sub(r"\\([^\w\s])", r"\1", re.sub(r"\.[*+]\??|\\[dw][*+]?", GAP, text))
            for length in range(1, WORDS + 1):
                found |= _runs(plain, length)
    return found


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """Remove the statements that are only a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and len(node.body) > 1:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                del node.body[0]
    return tree


#: The message of an error about a missing package; `test_declared.py` calls what raises them.
MISSING = re.compile(r'.+ needs? .+: pip install "invflow\[[a-z]+\]"')
MESSAGES = {
    f"{file.relative_to(SOURCE / 'invflow').as_posix()}:{line}": text
    for file in sorted((SOURCE / "invflow").rglob("*.py"))
    for line, text in _errors(file)
}


def untested() -> dict[str, str]:
    """Return the messages whose words no test has, by place."""
    tested = _tested()
    checked = {place: text for place, text in MESSAGES.items() if "pip install" not in text}
    marks = _marks(checked)
    return {
        place: MESSAGES[place].replace(GAP, "{}")
        for place, runs in marks.items()
        if not runs & tested
    }


def test_every_message_is_tested() -> None:
    assert untested() == {}


def test_what_is_missing_is_said_in_one_form() -> None:
    texts = [text.replace(GAP, "it") for text in MESSAGES.values() if "pip install" in text]
    assert len(texts) > 20
    assert [text for text in texts if not MISSING.fullmatch(text) and "invflow[" in text] == []


def test_the_test_finds_a_message_without_a_test() -> None:
    made = {"x.py:1": f"{GAP} must be frobnicated, got {GAP}", "y.py:1": f"{GAP} does not exist"}
    assert ("must", "be", "frobnicated") in _marks(made)["x.py:1"]
    assert not _marks(made)["x.py:1"] & _tested()
    assert _marks(made)["y.py:1"] & _tested()


def test_sources_have_no_tabs() -> None:
    """A tab in a docstring is a formula whose backslash was read as an escape."""
    sources = [*SOURCE.rglob("*.py"), *(ROOT / "docs").rglob("*.md")]
    assert [path.name for path in sources if "\t" in path.read_text(encoding="utf-8")] == []
