"""Sphinx's settings: `make docs` builds these pages into `build/docs`, with warnings as errors."""

from __future__ import annotations

from liualgotrader import __version__

project = "LiuAlgoTrader"
author = copyright = "The LiuAlgoTrader authors"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"LiuAlgoTrader {__version__}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
smartquotes = False  # options begin with two hyphens

myst_heading_anchors = 4
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types of signatures, most of them of other packages: no pages are fetched

default_role = "code"  # docstrings write `names` as Markdown does
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
add_module_names = False
