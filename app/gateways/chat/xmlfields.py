"""XML as WeCom and WeChat send it: one element, and in it fields with text. Nothing else of XML is read.

Without a document type there are no entities but the five of XML itself; so a document type is refused where it
begins. A comment, an attribute or text between the fields is refused too, since no platform sends them.
"""

from typing import Any, NoReturn
from xml.parsers import expat

from app.domain.errors import SignatureInvalid

MAX_DEPTH = 8


def read_fields(body: bytes) -> dict[str, str]:
    """The text of each field by its name. What has fields of its own has no text.

    Raises `SignatureInvalid`, also when a name is there twice.
    """
    reader = _Reader()
    try:
        reader.parser.Parse(body, True)
    except (expat.ExpatError, ValueError) as error:
        raise SignatureInvalid from error
    return reader.fields


class _Reader:
    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self._path: list[str] = []
        self.parser = parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = parser.ProcessingInstructionHandler = parser.CommentHandler = _refuse

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if attributes or len(self._path) > MAX_DEPTH:
            raise SignatureInvalid
        if len(self._path) == len(("xml", name)):
            if name in self.fields:
                raise SignatureInvalid
            self.fields[name] = ""

    def _end(self, _: str) -> None:
        self._path.pop()

    def _text(self, text: str) -> None:
        match self._path:
            case [_, name]:
                self.fields[name] += text
            case [_] if not text.isspace():
                raise SignatureInvalid


def _refuse(*_: Any) -> NoReturn:
    raise SignatureInvalid
