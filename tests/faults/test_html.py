"""Pages of the report are inert by themselves: what is left of a notebook's HTML neither runs nor fetches.

The page's content policy would stop it as well; here it is not asked.
"""

import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from bs4.element import PreformattedString
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from adaptlab.runner.pages import ATTRIBUTES, ELEMENTS, notebook_body

RUN = "<script>alert(1)</script>"
HOSTILE = [
    # comments and sections that end elsewhere for a browser
    f"<!-->{RUN}-->",
    f"<!--->{RUN}-->",
    f"<!-- --!>{RUN}-->",
    f"<![CDATA[>{RUN}]]>",
    f"<?xml >{RUN}?>",
    f"<!doctype >{RUN}",
    "<![CDATA[><img src=x onerror=alert(1)>]]>",
    "<!--><svg onload=alert(1)>-->",
    # elements whose text a browser reads otherwise
    f'<noscript><p title="</noscript>{RUN}">',
    f'<style><a title="</style>{RUN}">',
    f'<textarea><a title="</textarea>{RUN}">',
    f'<title><a title="</title>{RUN}">',
    f'<noembed><a title="</noembed>{RUN}">',
    f'<xmp><a title="</xmp>{RUN}">',
    f"<template>{RUN}</template>",
    f"<math><mtext><table><mglyph><style><!--</style>{RUN}",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'>x</a></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x></svg>",
    "<form><button formaction='javascript:alert(1)'>x</button></form>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<select><option><script>alert(1)</script></select>",
    # links
    *(
        f"<a href='{link}'>x</a>"
        for link in (
            "javascript:alert(1)",
            "java\tscript:alert(1)",
            "java\nscript:alert(1)",
            " javascript:alert(1)",
            "\x01javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "java&#10;script:alert(1)",
            "javascript&colon;alert(1)",
            "&#106;avascript:alert(1)",
            "vbscript:x",
            "data:text/html,<script>alert(1)</script>",
            "blob:https://x/1",
            "file:///etc/passwd",
            "view-source:x",
            "intent://x",
            "ja\u00advascript:alert(1)",
        )
    ),
    # what fetches
    "<img src='https://example.org/a.png'>",
    "<img src='//example.org/a.png'>",
    "<img srcset='https://example.org/a.png 1x'>",
    "<img src='data:text/html,x'>",
    "<video poster='https://example.org/a.png'></video>",
    "<audio src='https://example.org/a.mp3' autoplay></audio>",
    "<body background='https://example.org/a.png'>",
    "<table background='https://example.org/a.png'><tr><td>x</td></tr></table>",
    "<a href='#x' ping='https://example.org/'>x</a>",
    "<div style='background:url(https://example.org/a.png)'>x</div>",
    "<div style='background:u\\72l(https://example.org/a.png)'>x</div>",
    "<div style='background:image-set(\"https://example.org/a.png\" 1x)'>x</div>",
    "<div style='/**/background:url(x)'>x</div>",
    "<div style='behavior:url(x)'>x</div>",
    "<div style='list-style-image:URL(x)'>x</div>",
    "<link rel=stylesheet href='https://example.org/a.css'>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "<base href='https://example.org/'>",
    "<object data='https://example.org/a'></object>",
    "<embed src='https://example.org/a'>",
    "<input type=image src='https://example.org/a.png'>",
    "<details ontoggle=alert(1) open>x</details>",
    "<p onmouseover=alert(1)>x</p>",
    "<p ONMOUSEOVER=alert(1)>x</p>",
    "<x-element onclick=alert(1)>x</x-element>",
]


def page(*outputs: dict, markdown: str = "") -> BeautifulSoup:
    cell = new_code_cell("1", outputs=[new_output("display_data", data) for data in outputs])
    nb = new_notebook(cells=[new_markdown_cell(markdown), cell])
    body, _ = notebook_body(nbformat.from_dict(nb), __file__)
    return BeautifulSoup(str(body), "html.parser")


def assert_inert(soup: BeautifulSoup) -> None:
    assert not soup.find_all(string=lambda text: isinstance(text, PreformattedString))
    for element in soup.find_all(True):
        assert element.name in ELEMENTS and set(element.attrs) <= ATTRIBUTES, element
        assert re.match(r"(https?|mailto):|[^:]*$|[^:]*[/?#]", element.get("href", "")), element
        assert element.get("src", "data:image/").startswith("data:image/")
        assert not re.search(r"url|image|[\"'/\\@]", element.get("style", "")), element


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_html_is_inert_in_outputs_and_in_text(hostile):
    for soup in (
        page({"text/html": f"<p>before</p>{hostile}<p>after</p>"}),
        page({"text/html": f"<div><table><tr><td>{hostile}</td></tr></table></div>"}),
        page({"text/markdown": f"before\n\n{hostile}\n\nafter"}),
        page(markdown=f"before\n\n{hostile}\n\nafter"),
    ):
        assert_inert(soup)


@pytest.mark.parametrize(
    "link", ["https://example.org/a?b=c:d", "http://x", "mailto:a@b.org", "#part", "02_x.html", "../a/b", "a?b=c:d", ""]
)
def test_ordinary_links_stay(link):
    assert page({"text/html": f"<a href='{link}'>x</a>"}).select_one(".output a")["href"] == link


def test_what_the_kit_itself_shows_stays():
    cells = "<tr><th scope='col' style='text-align:left'>a</th><td colspan='2'>1</td></tr>"
    table = f"<table border='1' class='dataframe'>{cells}</table>"
    coloured = "<span style='color:#ff0000; background-color: rgb(1, 2, 3)'>x</span>"
    picture = "<img alt='a line' width='10' src='data:image/png;base64,AAAA'>"
    found = page({"text/html": table + coloured + picture})
    assert found.select_one(".output th")["style"] == "text-align:left" and found.select_one(".output .dataframe")
    assert "#ff0000" in found.select_one(".output span[style]")["style"]
    assert found.select_one(".output img")["src"] == "data:image/png;base64,AAAA"


def test_a_drawing_is_a_picture():
    drawing = "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>alert(1)</script></svg>"
    found = page({"image/svg+xml": drawing, "text/plain": "a drawing"})
    assert_inert(found)
    assert found.select_one(".output img")["src"].startswith("data:image/svg+xml;base64,")
