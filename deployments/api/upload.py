"""Read an uploaded form piece by piece: its file goes to the storage as it arrives, never as a whole into memory."""

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from deployments.api.form import FIELD, FormReader, boundary_of
from pipelines.errors import FieldFault, InvalidInput, MalformedInput

MAX_FIELD_BYTES = 4096


class UploadForm(FormReader):
    """A form with one file and short fields. The bytes of the file wait in `pending` until they are taken."""

    def __init__(self, content_type: str) -> None:
        super().__init__()
        self.pending = bytearray()
        self._parser = MultipartParser(boundary_of(content_type), self.callbacks())

    def feed(self, piece: bytes) -> None:
        """Read a piece of the body. Raises MalformedInput, and InvalidInput for a second file."""
        try:
            self._parser.write(piece)
        except FormParserError:
            raise MalformedInput("the form is damaged") from None

    def fields(self) -> dict[str, str]:
        """The short fields, and the name of the file, once the form has ended. Raises MalformedInput, InvalidInput."""
        if not self.ended:
            raise MalformedInput("the form is cut off: its last boundary is missing")
        files = [part.filename for part in self.parts if part.name == FIELD]
        if not files or files[0] is None:
            raise InvalidInput(FieldFault(f"/{FIELD}", "missing", "the form must have a file with this name"))
        texts = {part.name: b"".join(part.pieces).decode(errors="replace") for part in self.parts if part.name != FIELD}
        return texts | {"filename": files[0]}

    def _end_header(self) -> None:
        super()._end_header()
        if sum(part.name == FIELD for part in self.parts) > 1:
            raise InvalidInput(FieldFault(f"/{FIELD}", "too_many_files", "send one request for each file"))

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        if part.name == FIELD:
            self.pending += data[start:end]
            return
        part.pieces.append(data[start:end])
        if sum(map(len, part.pieces)) > MAX_FIELD_BYTES:
            raise MalformedInput(f"a field of the form has more than {MAX_FIELD_BYTES:,} bytes")
