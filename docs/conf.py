"""Settings of Sphinx; ``docs/build.py`` puts the pages together and calls it."""

from importlib.metadata import version as _version

project = "Stationary"
author = "the Stationary authors"
copyright = "the Stationary authors; Apache License 2.0"
release = _version("stationary")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "Stationary"

myst_enable_extensions = ["fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Members", "params_style"), "Timing", "Source", "Law"]

# Annotations name types as the code does, by their last name; classes of one name in two modules are told apart there.
suppress_warnings = ["ref.python"]
