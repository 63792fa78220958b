"""A notebook's code cells as one Python text, with magics as comments; and the way back.

notebook --NotebookFile.text--> Python, line by line --values--> the same lines --encode--> notebook
"""

import json
import re
from itertools import groupby

from studio.errors import SubstitutionError
from studio.script.json_file import json_scalars
from studio.script.python_file import PythonFile
from studio.script.scalar import Scalar

_MAGIC = re.compile(r"^(\s*)[%!?]|^\s*[\w.]+\?{1,2}\s*$|^(\s*)\w[\w, ]*=\s*[!%]")
_TIMED = re.compile(r"^(\s*)(%(?:time|timeit|prun)\s+)(?=[^\s-])")
_FOREIGN = re.compile(r"^\s*%%(?!time\b|timeit\b|capture\b|prun\b)\w+")  # a cell in another language


class NotebookFile(PythonFile):
    """The code of a notebook, unchanged except for magics; `encode` puts changed lines back into the JSON.

    Raises SubstitutionError for an invalid notebook, or one in another language.
    """

    def __init__(self, path: str, data: bytes) -> None:
        try:
            self._json = data.decode()
        except UnicodeDecodeError:
            raise SubstitutionError(f"{path!r} is not a notebook: it is not UTF-8") from None
        scalars = json_scalars(path, self._json)
        by_keys = {scalar.keys: scalar.value for scalar in scalars}
        language = by_keys.get(("metadata", "kernelspec", "language")) or by_keys.get(
            ("metadata", "language_info", "name"), "python"
        )
        if str(language).lower() not in ("python", "ipython", "python3"):
            raise SubstitutionError(f"{path!r} is a notebook in {language}; Studio can only change notebooks in Python")
        cells = [s for s in scalars if len(s.keys) == 2 and s.keys[0].startswith("cells[")]
        self._parts: list[tuple[Scalar, int]] = []  # texts of the JSON, each with the number of newlines in it
        self._cells: list[int] = []  # how many of these texts each cell has
        shown: list[str] = []
        for cell, members in groupby(cells, key=lambda scalar: scalar.keys[0]):
            if by_keys.get((cell, "cell_type")) != "code":
                continue
            texts = [s for s in members if re.fullmatch(r"source(\[\d+\])?", s.keys[1]) and isinstance(s.value, str)]
            if not texts:
                continue
            source = "".join(str(part.value) for part in texts)
            foreign = bool(_FOREIGN.match(source))
            self._parts += [(part, str(part.value).count("\n")) for part in texts]
            shown.append("\n".join(_masked(line, foreign) for line in source.split("\n")))
            self._cells.append(len(texts))
        self.path, self.encoding, self.text = path, "utf-8", "\n".join(shown)

    def encode(self, text: str) -> bytes:
        """Return the notebook with the lines of `text` in it; unchanged lines keep their bytes."""
        new, old = text.split("\n"), self.text.split("\n")
        data = self._json.encode()
        pieces: list[bytes] = []
        position = line = index = 0
        for count in self._cells:
            for part, newlines in self._parts[index : index + count]:
                lines = str(part.value).split("\n")
                for offset in range(newlines + 1):
                    before, after = old[line + offset], new[line + offset]
                    # a line that spans several texts is never changed
                    if before != after and _masked(lines[offset], False) == before:
                        kept = len(timed[0]) if (timed := _TIMED.match(lines[offset])) else 0
                        lines[offset] = lines[offset][:kept] + after[kept:]
                if lines != str(part.value).split("\n"):
                    ascii_only = self._json.isascii()
                    pieces += [
                        data[position : part.start],
                        json.dumps("\n".join(lines), ensure_ascii=ascii_only).encode(),
                    ]
                    position = part.stop
                line += newlines
            index += count
            line += 1
        return b"".join([*pieces, data[position:]])

    def shown(self, text: str) -> str:
        """Return the notebook's JSON for a diff."""
        return self.encode(text).decode()


def _masked(line: str, foreign: bool) -> str:
    """Return a line that is not Python as a comment of the same length; other lines unchanged."""
    if not foreign and (timed := _TIMED.match(line)):  # `%time f(x)` runs the rest of the line
        return f"{timed[1]}if 1:{' ' * (len(timed[2]) - 5)}{line[len(timed[0]) :]}"
    if not foreign and not _MAGIC.match(line):
        return line
    blanks = len(line) - len(line.lstrip())
    rest = line[blanks:]
    if not rest:
        return line
    return line[:blanks] + ("0#" + rest[2:] if blanks and len(rest) > 1 else "#" + rest[1:])
