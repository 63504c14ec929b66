"""The English of docstrings and texts: the worst forms stay away."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for pattern in (
        "bopt/**/*.py",
        "experiments/**/*.py",
        "tests/**/*.py",
        "colab/*.py",
    )
    for path in ROOT.glob(pattern)
)
TEXTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "experiments/**/*.md", "colab/*.md")
    for path in ROOT.glob(pattern)
)
OPENING = re.compile(r"(What|Whose|Who|How|From the|Of|Whether)\b")
# Written as patterns, so that this file does not contain the phrases themselves.
PHRASE = re.compile(
    r"\b(so\s+many|given\s+again|can\s+be\s+had|go\s+on\s+with|goes\s+on"
    r"|a\s+line\s+an\s+epoch)\b",
    re.IGNORECASE,
)


def summaries(text: str) -> list[str]:
    """First lines of all docstrings."""
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return [doc.splitlines()[0] for node in nodes if (doc := ast.get_docstring(node))]


def test_summaries_are_imperative_or_noun_phrases():
    wrong = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in SOURCES
        for line in summaries(path.read_text())
        if OPENING.match(line)
    ]
    assert not wrong, "\n".join(["summaries to rewrite:", *wrong])


def test_no_phrases_that_only_their_writer_understands():
    wrong = [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: "
        + " ".join(match[0].split())
        for path in SOURCES + TEXTS
        for text in [path.read_text()]
        for match in PHRASE.finditer(text)
    ]
    assert not wrong, "\n".join(["phrases to replace:", *wrong])


def test_the_checks_find_what_they_look_for():
    assert len(SOURCES) > 50 and ROOT / "README.md" in TEXTS
    text = '"""Module."""\nclass A:\n  """Of a."""\n  def f(): """Whose f."""'
    assert summaries(text) == ["Module.", "Of a.", "Whose f."]
    assert OPENING.match("From the options to files.")
    assert not OPENING.match("Offset, and what is left.")
    for phrase in ("so_many", "a_line an\n epoch", "Given_again"):
        assert PHRASE.search(phrase.replace("_", " "))
    assert not PHRASE.search("so manyfold")
