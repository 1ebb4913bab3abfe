"""The commands that speak of robaudit itself: `explain`, `schema`, `version`."""

from __future__ import annotations

import json
from typing import Annotated

from audit.cli.flags import argument, option
from audit.cli.scanning import AsJson, Width


def explain(
    name: Annotated[str | None, argument(metavar="[NAME]")] = None,
    html: Annotated[
        str | None,
        option(
            "--html",
            metavar="DIR",
            help="Write everything that is explained as a static site.",
        ),
    ] = None,
    width: Width = None,
) -> None:
    """Explain a topic, quantity, divergence, attack, family, statistic or key."""
    from audit.cli.terminal import emit, style
    from audit.formats import topics

    shown = style(width=width)
    emit(topics.render(name, shown) if html is None else _site(html, name))


def _site(folder: str, name: str | None) -> str:
    """Write the site of all that is explained, and return what to say of it."""
    from audit.formats import site
    from audit.ground.errors import ConfigError
    from audit.ground.printable import printable
    from audit.reports.text import count

    if name is not None:
        raise ConfigError(
            f"'{name}' and --html are given",
            "Expected one of them: the site holds every name",
            "Leave out the name, or --html",
        )
    pages = site.write(folder)
    return f"Wrote {count(len(pages), 'page')}; open {printable(folder)}/{pages[0]}"


def schema(
    what: Annotated[str, argument(metavar="report|config")] = "report",
) -> None:
    """Print the JSON Schema of a report or of robaudit.yaml."""
    from audit.cli.terminal import emit
    from audit.config.schema import config_schema
    from audit.ground.errors import ConfigError
    from audit.reports.json import report_schema

    if what not in ("report", "config"):
        raise ConfigError(
            f"There is no schema of '{what}'",
            "Expected report or config",
            "Name one of the two",
        )
    found = report_schema() if what == "report" else config_schema()
    emit(json.dumps(found, sort_keys=True, indent=2))


def version(json_: AsJson = False) -> None:
    """Print the version of robaudit, with --json those of all it stands on."""
    from audit.cli.terminal import emit
    from audit.cli.versions import versions

    found = versions()
    text = json.dumps(found, sort_keys=True, indent=2)
    emit(text if json_ else f"robaudit {found['robaudit']}")


COMMANDS = (explain, schema, version)
