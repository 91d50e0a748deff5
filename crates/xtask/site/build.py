"""Builds the documentation as a site that opens from disk: `build.py TARGET` writes TARGET/site. Run by `cargo xtask docs`.

The pages are those of docs/ and schemas/, in one tree. Links to other folders are replaced by the path, since the site has none of their
files. Links and anchors that lead nowhere are errors.
"""

import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

SITE = Path(__file__).parent
ROOT = SITE.parents[2]
LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<path>(?:\.\./)+[^)#]+)(?P<anchor>#[^)]*)?\)")


def place(path):
    """Where a path of the repository is on the site; None if it is not there."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return path if path.startswith("schemas/") else None


def links_of_the_site(page):
    """The text of a page, with links that are right on the site."""
    folder = posixpath.dirname(page)

    def of_the_site(match):
        path = posixpath.normpath(posixpath.join(folder, match["path"]))
        if not (ROOT / path).exists():
            sys.exit(f"{page}: {match['path']} does not exist")
        if place(path) is None:
            return f"{match['text']} (`{path}`)"
        link = posixpath.relpath(place(path), posixpath.dirname(place(page)) or ".")
        return f"[{match['text']}]({link}{match['anchor'] or ''})"

    return LINK.sub(of_the_site, (ROOT / page).read_text(encoding="utf-8"))


def as_the_site_reads(text):
    """Two differences between the Markdown of the site and of git hosts: a list starts after an empty line, and a bar in the code of a
    table is not escaped."""
    lines, fenced = [], False
    for line in text.split("\n"):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and line.startswith("|"):
            line = re.sub(r"`[^`]*`", lambda code: code[0].replace("\\|", "|"), line)
        elif not fenced and line.startswith("- ") and lines and lines[-1] and not lines[-1].startswith(("- ", "  ")):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def main():
    target = Path(sys.argv[1]).resolve()
    source, site = target / "site-source", target / "site"
    for folder in (source, site):
        shutil.rmtree(folder, ignore_errors=True)
    for path in sorted([*ROOT.glob("docs/**/*"), *ROOT.glob("schemas/*")]):
        name = path.relative_to(ROOT).as_posix()
        copy = source / "docs" / place(name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            copy.write_text(as_the_site_reads(links_of_the_site(name)), encoding="utf-8")
        elif path.is_file():
            shutil.copyfile(path, copy)
    shutil.copyfile(SITE / "mkdocs.yml", source / "mkdocs.yml")
    shutil.copytree(SITE / "theme", source / "theme")
    zensical = [Path(sys.executable).parent / "zensical", "build", "--strict"]
    built = subprocess.run(zensical, cwd=source, check=False)
    if built.returncode != 0:
        sys.exit("the site was not built")
    # The page for what a server doesn't find.
    (source / "site/404.html").unlink()
    shutil.move(source / "site", site)


main()
