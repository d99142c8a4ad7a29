"""A multipart body as it comes: small fields are kept, the bytes of the file are handed out, nothing is spooled."""

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from core.contract.errors import BadInput

FILE = "file"
MAX_FIELDS = 32
MAX_FIELD_BYTES = 64 << 10
MAX_NAME = 255


class Form:
    """Feed it pieces, in order; after the last one `close` says whether the body was whole."""

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise _broken("Send the file as multipart/form-data with a boundary, as the SDKs and `curl -F` do.")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._ended = False
        self._name = ""
        self._value = bytearray()
        self._header = bytearray()
        self._header_value = bytearray()
        self._disposition = b""
        self._chunks: list[bytes] = []
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._part_begin,
                    "on_header_begin": self._header_begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_data,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_end,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _broken(str(error)) from None

    def feed(self, piece: bytes) -> list[bytes]:
        """The bytes of the file within this piece."""
        self._chunks = []
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _broken(str(error)) from None
        return self._chunks

    def close(self) -> None:
        if not self._ended:
            raise _broken("The body ends before its closing boundary; send it again.")

    def _part_begin(self) -> None:
        self._disposition = b""
        self._value = bytearray()
        self._name = ""

    def _header_begin(self) -> None:
        self._header = bytearray()
        self._header_value = bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_data(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = _text(options.get(b"name", b""), "a field's name")
        if not self._name:
            raise _broken("A part has no name.")
        if self._name in self.fields or (self._name == FILE and self.filename is not None):
            raise BadInput(f"The field '{self._name}' is there twice.", param=self._name)
        if len(self.fields) >= MAX_FIELDS:
            raise _broken(f"More than {MAX_FIELDS} fields.")
        if self._name == FILE:
            self.filename = _plain(_text(options.get(b"filename", b""), "the file's name"))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == FILE:
            self._chunks.append(data[start:end])
        elif len(self._value) + end - start > MAX_FIELD_BYTES:
            raise BadInput(f"A field has at most {MAX_FIELD_BYTES} bytes.", code="out_of_range", param=self._name)
        else:
            self._value += data[start:end]

    def _part_end(self) -> None:
        if self._name != FILE:
            self.fields[self._name] = _text(bytes(self._value), f"the field '{self._name}'")

    def _end(self) -> None:
        self._ended = True


def _text(data: bytes, what: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _broken(f"{what.capitalize()} is not UTF-8.") from None
    if "\0" in text:
        raise _broken(f"{what.capitalize()} holds a NUL character.")
    return text


def _plain(name: str) -> str:
    """Without folders, and without what shows as another name or moves a terminal; never empty, `.` or `..`."""
    own = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(each for each in own if each.isprintable())[-MAX_NAME:]
    return shown if shown.strip(". ") else "upload"


def _broken(message: str) -> BadInput:
    return BadInput(message, code="invalid_multipart")
