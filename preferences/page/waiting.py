"""A page that stands in until the checks of a file are done; the browser asks again by itself."""

from preferences.page.style import CSS
from preferences.page.words import document, text

MESSAGE = "The file's checks or the inspection of file and model are under way."


def page(filename: str) -> str:
    again = '<meta http-equiv="refresh" content="2">'
    head = f'<p class="eyebrow">Palate · data report</p><h1>{text(filename)}</h1><p class="lead">{MESSAGE}</p>'
    return document(filename, CSS, [head]).replace("<meta ", again + "<meta ", 1)
