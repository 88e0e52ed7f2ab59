"""HTML from the files in `templates/`, by jinja2; whatever comes from outside is escaped."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from functools import cache
from typing import Any

from jrnn.extras import require
from jrnn.wording import sentence_case

NUMBER = re.compile(r"[-+]?\d[\w.,]*(?:e[-+]\d+)? %|\d[\w.]*e[-+]\d+|[-+]\d[\w.]*")


def rendered(template: str, **values: Any) -> str:
    """What a file of `templates/` says of these values.

    Raises:
      InputError: jinja2 is not installed.
    """
    return _environment().get_template(template).render(values)


def markup(html: str) -> Any:
    """HTML that a template takes as it is."""
    return require("markupsafe").Markup(html)


def unbroken(text: str) -> Any:
    """The text escaped, so marked that no line ends inside a number or before its percent sign."""
    return markup(NUMBER.sub(r'<span class="n">\g<0></span>', str(require("markupsafe").escape(text))))


def source(template: str) -> Any:
    """A file of `templates/` as it is."""
    return markup(_environment().loader.get_source(_environment(), template)[0])


def sha256(text: str) -> str:
    """The hash of a script, by which a page's policy knows it."""
    return b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _environment() -> Any:
    """jinja2's, which keeps the templates that were read."""
    jinja2 = require("jinja2")
    form: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    environment = jinja2.Environment(loader=jinja2.PackageLoader("jrnn.report"), autoescape=True, **form)
    environment.filters |= {"unbroken": unbroken, "sentence_case": sentence_case, "sha256": sha256}
    return environment
