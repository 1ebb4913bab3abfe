"""The site of `robaudit explain`: all of it, linked, escaped, in its own place."""

import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from audit.cli import app
from audit.config.options import OPTIONS, flag_names
from audit.formats import glossary, site
from audit.formats.pages import page
from audit.formats.site import contents, prose
from audit.formats.site.examples import EXAMPLES
from audit.ground.errors import ConfigError, InputError
from audit.ground.plugins import NOUNS
from audit.reports import expressions
from audit.reports.roles import ROLES

from . import printed
from .test_html import Page

ROOT = Path(__file__).parents[2]
STARTS = "robaudit scan sample_models/"
EVIL = "<script>alert(1)</script>"


class Content(HTMLParser):
    """A page's links, anchors, visible text and pieces of code."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.code, self.words = [], [], [], []
        self.within = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        self.within = tag
        if tag in ("pre", "p", "td", "h1", "h2", "li", "section"):
            self.words.append("\n")
        if tag in ("pre", "code"):
            self.code.append("")

    def handle_endtag(self, tag):
        self.within = ""

    def handle_data(self, data):
        if self.within == "style":
            return
        self.words.append(data)
        if self.within in ("pre", "code"):
            self.code[-1] += data

    @property
    def text(self):
        return normal("".join(self.words))


def normal(text):
    return " ".join(text.replace("`", "").replace("**", "").split())


@pytest.fixture(scope="module")
def pages():
    return site.pages()


@pytest.fixture(scope="module")
def read(pages):
    return {file: Content(text) for file, text in pages.items()}


@pytest.fixture(scope="module")
def everything(read):
    return " ".join(content.text for content in read.values())


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """Install a package with one plug-in, of any name and docstring."""

    def install(kind, name, doc):
        source = f"def made(*_):\n    {doc!r}\n"
        (tmp_path / "strange.py").write_text(source)
        info = tmp_path / "strange-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\n")
        lines = f"[robaudit.{kind}]\n{name} = strange:made\n"
        (info / "entry_points.txt").write_text(lines)
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    sys.modules.pop("strange", None)


def dead(read):
    """Links that lead nowhere: to no page, or to no anchor of one."""
    found = []
    for file, content in read.items():
        for link in content.links:
            target, _, anchor = link.partition("#")
            there = read.get(target or file)
            if there is None or (anchor and unquote(anchor) not in there.anchors):
                found.append((file, link))
    return found


# What it holds


def test_pages_are_valid_and_ask_for_nothing(pages):
    assert next(iter(pages)) == "index.html"
    for text in pages.values():
        found = Page(text)
        assert not {"script", "link", "img", "iframe", "object"} & set(found.tags)
        assert not {"src", "onclick", "onload"} & {n for n, _ in found.attributes}
        assert "http://" not in text
        assert "https://" not in text
        assert "url(" not in text
        assert "default-src 'none'" in text
        assert found.tags.count("h1") == found.tags.count("main") == 1


def test_no_link_and_no_anchor_is_dead(read):
    assert sum(len(content.links) for content in read.values()) > 500
    assert not dead(read)


def test_a_dead_link_would_be_found(read):
    broken = {**read, "index.html": Content('<a href="kl.html#kl">kl</a>')}
    assert ("index.html", "kl.html#kl") in dead(broken)
    assert ("x.html", "#gone") in dead({**read, "x.html": Content('<a href="#gone">')})


def test_anchors_are_unique_and_every_page_is_reached_from_every_other(read):
    for file, content in read.items():
        assert len(set(content.anchors)) == len(content.anchors), file
        assert set(read) <= set(content.links)


def test_every_name_is_on_the_index_and_leads_to_its_text(read):
    targets = {unquote(link.partition("#")[2]) for link in read["index.html"].links}
    for name in [*glossary.names(), *map(str, glossary.EXIT_CODES)]:
        assert contents.slug(name) in targets, name


def test_every_line_that_explain_prints_is_on_the_site(everything):
    names = [name for name in glossary.names() if name != "expressions"]
    assert len(names) > 100
    for name in [*names, *map(str, glossary.EXIT_CODES)]:
        for _, text in glossary.explain(name):
            for line in text.replace("```python", "").split("\n"):
                assert normal(line) in everything, name


def test_the_code_of_a_page_is_kept_as_it_is_written(read):
    written = re.findall(r"```python\n(.*?)\n```", page("family-plugin"), re.DOTALL)
    assert written
    assert set(written) <= set(read["plugins.html"].code)


def test_the_language_the_suffixes_and_the_options_are_there(read):
    said = read["expressions.html"]
    assert normal(expressions.GRAMMAR) in said.text
    assert normal(expressions.SHAPES) in said.text
    for name, (meaning, example) in expressions.FUNCTIONS.items():
        assert f"{name}() function {normal(meaning)}" in said.text
        assert example in said.code
    for role in ROLES:
        assert f"QUANTITY{role.suffix}" in read["columns.html"].anchors
    for name, option in OPTIONS.items():
        assert normal(option.meaning) in read["options.html"].text
        assert f"robaudit.yaml {name}" in read["options.html"].text
        place = name if option.file_only else flag_names(name)[-1]
        assert place in read["options.html"].anchors


def test_every_kind_of_plug_in_has_a_page():
    kinds = {kind for topic in contents.TOPICS for kind in topic.kinds}
    assert set(NOUNS.values()) <= kinds


# Names of strangers


@pytest.mark.sweep(2)
@pytest.mark.parametrize("kind", NOUNS)
def test_names_and_words_of_a_plug_in_cannot_become_markup(kind, plug_in):
    plug_in(kind, f"x{EVIL}", f"{EVIL} `{EVIL}` <a href='http://x'>y</a> \x1b[31m")
    pages = site.pages()
    read = {file: Content(text) for file, text in pages.items()}
    for text in pages.values():
        found = Page(text)
        assert not {"script", "img"} & set(found.tags)
        assert "\x1b" not in text
    assert sum("x&lt;script&gt;alert(1)" in text for text in pages.values()) >= 2
    assert not dead(read)


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("families", "kl"),
        ("families", "normal"),
        ("loaders", ".trace"),
        ("formats", "normal.trace"),
        ("engines", "main"),
        ("attacks", "1"),
        ("inputs", "expressions"),
        ("divergences", "gaussian_se"),
    ],
)
def test_a_plug_in_that_is_called_like_something_of_ours_breaks_nothing(
    kind, name, plug_in
):
    plug_in(kind, name, "It has words of its own.")
    pages = site.pages()
    read = {file: Content(text) for file, text in pages.items()}
    assert not dead(read)
    for content in read.values():
        assert len(set(content.anchors)) == len(content.anchors)
    if name != "expressions":
        assert any("It has words of its own." in c.text for c in read.values())


def test_slugs_are_anchors():
    assert contents.slug("critical_radius") == "critical_radius"
    assert contents.slug(" <é") == "-20--3c--e9-"


# Text


def test_names_lead_to_their_entry_and_not_to_themselves():
    links = {"mean": "a.html#mean", "critical_radius": "b.html#r", "x-plugin": "c.html"}
    said = str(prose.inline("The mean of `mean`, critical_radius.", links))
    assert said == (
        'The mean of <a href="a.html#mean"><code>mean</code></a>, '
        '<a href="b.html#r">critical_radius</a>.'
    )
    assert str(prose.inline("critical_radius", links, "b.html#r")) == "critical_radius"
    command = str(prose.inline("`robaudit explain x-plugin`", links))
    assert command == '<a href="c.html"><code>robaudit explain x-plugin</code></a>'
    assert str(prose.inline("one ` alone & < ", links)) == "one ` alone &amp; &lt; "
    bold = str(prose.inline("**The law.** a ** b 2**3**4 <**x**>", links))
    assert bold == "<strong>The law.</strong> a ** b 2**3**4 &lt;**x**&gt;"
    assert "FILE:: if" in str(prose.inline("(FILE:: if it has a ::)", links))


def test_blocks():
    text = "One\nparagraph.\n\n    code\n\n```python\nif x:\n\n    # y\n```\nEnd."
    assert list(prose.blocks(text, wraps=True)) == [
        (False, "One paragraph."),
        (True, "code"),
        (True, "if x:\n\n    # y"),
        (False, "End."),
    ]
    assert list(prose.blocks("a\n    b", wraps=False)) == [
        (False, "a"),
        (False, "    b"),
    ]


# Commands


def commands(read):
    """The scans that the site tells its readers to paste."""
    code = {text for content in read.values() for text in content.code}
    return sorted(text for text in code if text.startswith(STARTS))


def test_commands_name_files_that_exist_and_names_that_are_explained(read):
    found = commands(read)
    assert len(found) >= 6
    for command in found:
        _, _, model, data, *flags = shlex.split(command)
        assert (ROOT / model).is_file()
        assert (ROOT / data).is_file()
        known = {flag for name in OPTIONS for flag in flag_names(name)}
        assert {word for word in flags if word.startswith("-")} <= known
    asked = {text for content in read.values() for text in content.code}
    asked = {text for text in asked if text.startswith("robaudit explain ")}
    assert asked >= {"robaudit explain family-plugin"}
    for command in asked - {"robaudit explain NAME"}:
        assert glossary.explain(command.split()[-1])


def test_every_example_is_on_its_page_with_what_it_prints(read):
    assert sorted(one.words for one in EXAMPLES) == commands(read)
    for one in EXAMPLES:
        code = read[f"{one.page}.html"].code
        assert one.words in code
        assert one.printed in code
        assert one.printed.rstrip().endswith(f"exit {one.code}")
    kept = {path.stem for path in printed.KEPT.iterdir()}
    assert kept == {one.page for one in EXAMPLES}


def test_a_difference_of_what_is_printed_is_seen():
    kept = "mean 1.23 ▁▂▃  λ\nkl 0.0145 nat"
    assert printed.difference(kept, "mean 1.24 ▁▂▂ λ kl 0.0145 nat") is None
    assert printed.difference(kept, kept.replace("1.23", "1.26")) == ("1.23", "1.26")
    assert printed.difference(kept, kept.replace("nat", "bit")) == ("nat", "bit")
    assert printed.difference(kept, kept + " more")


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.page)
def test_every_command_ends_and_prints_as_the_site_says(example):
    done = printed.run(example)
    assert done.returncode == example.code, done.stderr
    assert printed.difference(example.printed, done.stdout) is None


# The folder


def test_a_new_folder_gets_all_pages_and_nothing_else(tmp_path, pages):
    assert site.write(tmp_path / "site") == list(pages)
    found = {path.name: path.read_text("utf-8") for path in tmp_path.glob("site/*")}
    assert found == pages
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert (tmp_path / "site").stat().st_mode & 0o777 == 0o777 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_empty_folder_and_an_earlier_site_are_used(tmp_path, pages):
    inode = tmp_path.stat().st_ino
    site.write(tmp_path)
    (tmp_path / "index.html").write_text(pages["index.html"] + "older")
    (tmp_path / "attacks.html").rename(tmp_path / "gone.html")
    site.write(tmp_path)
    assert {p.name: p.read_text("utf-8") for p in tmp_path.iterdir()} == pages
    assert tmp_path.stat().st_ino == inode


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CNAME", "docs"),
        ("index.html", "<html><body>mine</body></html>"),
        (".hidden", ""),
        ("page.txt", '<meta name="generator" content="robaudit explain --html">'),
    ],
)
@pytest.mark.parametrize("earlier", [False, True])
def test_a_folder_with_anything_else_is_refused_and_untouched(
    tmp_path, name, text, earlier
):
    if earlier:
        site.write(tmp_path)
    (tmp_path / name).write_text(text)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError) as caught:
        site.write(tmp_path)
    error = caught.value
    assert f"holds '{name}'" in error.given
    assert error.expected
    assert error.next_step
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_links_and_folders_within_are_no_pages(tmp_path):
    site.write(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "index.html").symlink_to(tmp_path / "a" / "index.html")
    for number in range(5):
        (tmp_path / "b" / f"{number}").mkdir()
    with pytest.raises(ConfigError, match=r"holds '0', '1', '2' and 3 more"):
        site.write(tmp_path / "b")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    site.write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()


def test_what_can_be_no_folder_is_refused_in_three_parts(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, kind in [
        ("file", ConfigError),
        ("none/site", ConfigError),
        ("loop", InputError),
        ("a\0b", InputError),
        ("n" * 300, InputError),
    ]:
        with pytest.raises(kind) as caught:
            site.write(tmp_path / name)
        error = caught.value
        assert error.given
        assert error.expected
        assert error.next_step
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]
    with pytest.raises(ConfigError, match="names no folder"):
        site.write("")


def test_a_failed_move_leaves_the_earlier_site(tmp_path, monkeypatch, pages):
    site.write(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="No space left"):
        site.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(pages)


# The command


def test_the_command_writes_the_site_and_says_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    done = run.invoke(app, ["explain", "--html", "site"])
    assert done.exit_code == 0
    assert re.fullmatch(r"Wrote \d+ pages; open site/index.html\n", done.stdout)
    assert (tmp_path / "site" / "index.html").is_file()
    done = run.invoke(app, ["explain", "kl", "--html", "other"])
    assert done.exit_code == 2
    assert "'kl' and --html are given" in done.stderr
    assert not (tmp_path / "other").exists()


def test_no_torch_is_imported_for_it(tmp_path):
    code = (
        "import sys; from audit.formats import site; "
        f"site.write({str(tmp_path / 'site')!r}); "
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'numpy') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
