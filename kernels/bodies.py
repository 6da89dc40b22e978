"""How the ONNX functions of the hot ops are written: as text in ONNX's own syntax, in standard operators."""

import onnx
from onnx import parser

DOMAIN = "recserve"
OPSET = 20
"""Version of the standard operators, which is the one that torch's exporter emits."""


def parse_body(text: str) -> onnx.FunctionProto:
    """`Name (input, ...) => (output, ...) { statements }` as a function of our domain.

    Raises onnx.parser.ParseError where the text is wrong.
    """
    return parser.parse_function(f'<opset_import: ["" : {OPSET}], domain: "{DOMAIN}"> {text}')
