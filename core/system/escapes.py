"""Control sequences of terminals, taken out of what a script printed: colours, moves of the cursor, links and titles."""

import re

# ECMA-48: CSI; OSC, DCS, PM, APC and SOS with their text up to BEL or ST; a charset (`tput sgr0`); the other two-byte ones
_SEQUENCE = re.compile(
    rb"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|[\]PX^_][^\x07\x1b\r\n]{0,4000}+(?:\x07|\x1b\\)|[()*+][0-9A-Za-z]|[6-9=>@-OQ-WYZ\\|}~cno])"
)


def without_escapes(text: bytes) -> bytes:
    """`text` without its control sequences. A sequence that is cut off stays."""
    return _SEQUENCE.sub(b"", text) if b"\x1b" in text else text
