"""A matplotlib figure as an SVG element that can stand in a page beside others."""

import html
import io
import re

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from nearfield.bench.report.plots import plot_settings


def inline_svg(figure: Figure, prefix: str, title: str, description: str) -> str:
    """The figure as an `<svg>` element; text stays text, and it scales with the page.

    Args:
        prefix: put before every id, so that figures of one page do not collide.
        title, description: read out by screen readers.
    """
    buffer = io.StringIO()
    with mpl.rc_context({**plot_settings(), "svg.fonttype": "none", "svg.hashsalt": prefix}):
        FigureCanvasSVG(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-").replace('xlink:href="#', f'xlink:href="#{prefix}-')
    opening, rest = text.split(">", 1)
    opening = re.sub(r'\s(?:width|height)="[^"]*"', "", opening)
    heading = (
        f'<title id="{prefix}-title">{html.escape(title)}</title>'
        f'<desc id="{prefix}-desc">{html.escape(description)}</desc>'
    )
    return f'{opening} role="img" aria-labelledby="{prefix}-title {prefix}-desc">{heading}{rest}'
