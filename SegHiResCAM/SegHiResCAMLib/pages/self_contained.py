"""One HTML file that holds all it needs, and may reach for nothing else: a strict Content-Security-Policy names the hash of every script and style.

It opens from a disk, by mail or on a web server alike. What comes out of files is text in it, never markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from SegHiResCAMLib.plain_text import plain
from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.user_error import UserError

LIBRARY = "niivue.umd.js"
"""NiiVue (https://github.com/niivue/niivue, BSD-2-Clause), which `hatch_build.py` puts into the package when it is built."""


class PageError(UserError):
    """Why a page cannot be made, with a code for programs and a message for the user."""


def text_of(name: str) -> str:
    """A script or style of the pages.

    Raises:
        PageError: `viewer-missing`, NiiVue is not in this installation.
    """
    checkout = Path(__file__).parents[3] / "build/web"
    path = next((one for one in (resource("Web", name), checkout / name) if one.is_file()), None)
    if path is None:
        raise PageError(
            "viewer-missing",
            f"This installation has no viewer for pages ({name}). Install the package again, in a checkout with: pip install -e .",
        )
    return path.read_text(encoding="utf-8")


def check_pages() -> None:
    """Refuse to make pages that cannot be made, before anything is computed.

    Raises:
        PageError: `viewer-missing`.
    """
    text_of(LIBRARY)


def page(title: str, style: str, body: str, scripts: Sequence[str], data: Mapping[str, str]) -> str:
    """The whole file.

    Args:
        title: Of the window.
        style: CSS.
        body: HTML, in which every text from elsewhere is escaped.
        scripts: JavaScript, run in this order.
        data: By id: JSON, or base64; read by the scripts and run by nobody.
    """
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(_hash, scripts))}",
            f"style-src {_hash(style)}",
            "img-src data: blob:",
            "connect-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    blocks = [f'<script type="application/json" id="{escape(name)}">{text}</script>' for name, text in data.items()]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy, quote=False)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{text(title)}</title>",
            f"<style>{style}</style>",
            "</head>",
            f"<body>{body}",
            *blocks,
            *(f"<script>{one}</script>" for one in scripts),
            "</body>",
            "</html>",
            "",
        ]
    )


def text(value: object) -> str:
    """Text from elsewhere as HTML: without what turns the direction of reading, and never markup."""
    return escape(plain(str(value)))


def json_data(value: Any) -> str:
    """JSON for a block of data: nothing in it can end the block."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
