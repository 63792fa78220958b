import io
import pathlib
import re
import warnings
from contextlib import redirect_stdout

import libcst
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import SubstitutionError
from studio.script.places import Place, Places
from studio.script.places.variables import literal_edit
from studio.script.program import Program
from studio.script.substitution import Substitution

# Scripts in which ¤ marks the reads of `lr`: what the value must replace, and all that it may replace.
CASES = pathlib.Path(__file__).parent / "cases" / "substitution" / "places.txt"
PLACES = dict(case.split("\n", 1) for case in CASES.read_text(encoding="utf-8").split("=== ")[1:])
PLACES |= {
    "tabs": "if x:\n\tlr\t=\t0.1\n\tf(\t¤\t)",
    "form feeds": "lr = 0.1\n\f\nf(¤) \f\n",
    "CRLF": "lr = 0.1\r\nf(¤,\r\n  ¤)\r\n'''\r\nlr'''\r\n",
    "mixed newlines": "lr = 0.1\r\nf(¤)\ng(¤)\r\n\n\r\nh(¤)\r",
    "carriage returns": "if ¤:\r    f(¤)",
    "no newline at the end": "f(¤)",
    "blanks at the end": "f(¤)   \n\n   \n",
    "form feeds before code": "x = 1\n\ff(¤)\n\f\fdef f(): return ¤, f'{¤}'",
    "blanks before a colon": "try:\n    f(¤)\nexcept E :\n    f(¤)\nexcept E  :\n    f(¤)",
    "backslash first": "\\\nf(¤)",
    "long elif chain": "if x == 0: pass\n" + "".join(f"elif x == {i}: f(¤)\n" for i in range(250)),
    "long sum": "x = " + " + ".join(["¤"] * 400),
}
NEWER = {  # syntax that this interpreter may not compile
    "type parameters",
    "type parameter of that name",
    "type parameters see the class",
    "template string",
}


def program(files, arguments=(), **options):
    """A program of these texts or bytes, the first its script."""
    data = {path: text if isinstance(text, bytes) else text.encode() for path, text in files.items()}
    return Program(next(iter(files)), arguments, read=data.get, **options)


def reads_of(given, name):
    """The place of all reads of `name` in the script, whatever is assigned to it."""
    [source] = given.own
    scopes = source.reads.variables.get(name, [])
    edits = tuple(literal_edit(source, read) for scope in scopes for read in scope.reads)
    return Place(name, (), "variable", source.path, 1, None, name, edits)


def build(text, names=("lr",), **options):
    """Values for the reads of `names` in one script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Places, "choose", lambda self, name: reads_of(self.program, name))
        return Substitution(program({"train.py": text}), names, **options)


def found(text, names=("lr",), arguments=(), **options):
    """Values for the places that `names` have in one script."""
    return Substitution(program({"train.py": text}, arguments), names, **options)


def written(text, *, compiles=True, **values):
    """The script with values in it, compiled for proof."""
    data = text if isinstance(text, bytes) else text.encode()
    result = build(data, list(values)).changes(values).get("train.py", data)
    if compiles:
        compiled(result)
    assert re.findall(rb"\r|\n", result) == re.findall(rb"\r|\n", data)
    return result if isinstance(text, bytes) else result.decode()


def compiled(text):
    with warnings.catch_warnings(action="ignore"):  # `3 is None` is legal, and Python frowns
        return compile(text, "train.py", "exec", dont_inherit=True)


@pytest.mark.parametrize("name", PLACES)
def test_every_read_and_nothing_else_takes_the_value(name):
    marked = PLACES[name]
    for value in (0.03, 1e-05, True, None, 7):
        text = written(marked.replace("¤", "lr"), lr=value, compiles=name not in NEWER)
        assert text.replace("(7)", "7") == marked.replace("¤", repr(value)).replace("(7)", "7")


@pytest.mark.parametrize("name", PLACES)
def test_reads_take_negative_numbers(name):
    marked = PLACES[name]
    text = written(marked.replace("¤", "lr"), lr=-0.5, compiles=name not in NEWER)
    assert text.replace("(-0.5)", "-0.5") == marked.replace("¤", "-0.5").replace("(-0.5)", "-0.5")


@pytest.mark.parametrize("name", [name for name in PLACES if not re.search("[ft]['\"]", PLACES[name])])
def test_reads_take_strings(name):
    marked = PLACES[name]
    text = written(marked.replace("¤", "lr"), lr="it's\n", compiles=name not in NEWER)
    assert text == marked.replace("¤", '"it\'s\\n"')


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{lr=}", "lr={¤!r}"),
        ("a { lr = } b", "a  lr = { ¤!r} b"),
        ("{lr=:.2f}", "lr={¤:.2f}"),
        ("{lr = !s}", "lr = {¤!s}"),
        ("{lr=!r:>9}", "lr={¤!r:>9}"),
        ("{lr=:}", "lr={¤:}"),
        ("{lr*2=} {x=}", "lr*2={¤*2!r} {x=}"),
        ("{(lr) =}", "(lr) ={(¤)!r}"),
        ("{ {1: lr}[1]=}", " {{1: lr}}[1]={ {1: ¤}[1]!r}"),
        ("{x=:{lr}}", "{x=:{¤}}"),
        ("{x:{lr=}}", "{x:lr={¤!r}}"),
        ("{lr=:{lr}.{lr}}", "lr={¤:{¤}.{¤}}"),
        ("{f'{lr=}'=}", "f'{{lr=}}'={f'lr={¤!r}'!r}"),
        ("{{lr=}} {lr=}", "{{lr=}} lr={¤!r}"),
    ],
)
def test_debug_expressions_keep_what_they_print(given, expected):
    for left, right in [('f"', '"'), ('rf"""', '"""')]:
        assert written(left + given + right, lr=0.5) == left + expected.replace("¤", "0.5") + right


@pytest.mark.parametrize("text", ["f'''{\nlr=}'''", "f'{d[\"a\"] + f(\\'lr\\', lr)=}'", "f'{g(f'{y}') + lr=}'"])
def test_debug_expressions_that_cannot_be_spelt_out_are_refused(text):
    with pytest.raises(SubstitutionError, match=r"^train\.py:1: .*"):
        build(text)


@pytest.mark.parametrize(
    "text",
    [
        "for lr in [0.1, 0.2]:\n    f(lr)",
        "lr = 0.1\nfor lr in [0.1, 0.2]:\n    f(lr)",
        "try:\n    from config import lr\nexcept ImportError:\n    lr = 0.1\nf(lr)",
        "import lr\nlr.x",
        "with f() as lr:\n    lr.x",
        "with f() as (a, [lr]):\n    lr.x",
        "def lr(): pass\nlr()",
        "class lr: pass\nlr()",
        "lr = 1\nlr += 1\nlr: int = 3\ndel lr",
        "x.lr = y.lr",
        "f(lr=1)",
        "def f(lr): return lr, [lr for x in lr], lambda: lr",
        "type lr[T] = T",
        "",
        "# lr\n",
    ],
)
def test_what_is_left_alone(text):
    substitution = build(text)
    assert substitution.changes({"lr": 0.03}) == {}
    assert substitution.diff({"lr": 0.03}) == ""


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("2 ** lr", -1, "2 ** (-1)"),
        ("lr ** 2", -1, "(-1) ** 2"),
        ("lr ** 2", 0.5, "0.5 ** 2"),
        ("(lr) ** 2", -1, "(-1) ** 2"),
        ("-lr", -1, "-(-1)"),
        ("~lr, +lr", -1, "~(-1), +(-1)"),
        ("-lr", 1, "-1"),
        ("not lr", -1, "not -1"),
        ("x-lr", -1, "x--1"),
        ("lr.is_integer()", 3, "(3).is_integer()"),
        ("lr.is_integer()", 0.5, "(0.5).is_integer()"),
        ("lr.is_integer()", -0.5, "(-0.5).is_integer()"),
        ("lr.upper()", "adam", "'adam'.upper()"),
        ("lr.real", True, "True.real"),
        ("lr.a.b", 3, "(3).a.b"),
        ("lr.x = 1", 3, "(3).x = 1"),
        ("del lr.x, lr[0]", 3, "del (3).x, 3[0]"),
        ("lr[0] = 1", -3, "(-3)[0] = 1"),
        ("lr[0] = 1", "adam", "'adam'[0] = 1"),
        ("x[lr:lr]", -1, "x[-1:-1]"),
        ("f(lr, *lr)", -1, "f(-1, *-1)"),
        ("lr()", -1, "(-1)()"),
        ("lr is None", 3, "3 is None"),
        ("async def f(): await lr", -1, "async def f(): await (-1)"),
        ("f'{lr:.2f} {-lr} {lr!r}'", -1.5, "f'{-1.5:.2f} {-(-1.5)} {-1.5!r}'"),
        ("f'{lr=}'", "adam", "f'lr={\"adam\"!r}'"),
        ("f(lr)", float("inf"), "f(1e999)"),
        ("lr ** 2", float("-inf"), "(-1e999) ** 2"),
        ("f(lr)", np.float64(0.25), "f(0.25)"),
        ("f(lr)", np.int64(4), "f(4)"),
        ("f(lr)", "it's", 'f("it\'s")'),
        ("f(lr)", "a\n\\", "f('a\\n\\\\')"),
        ("f(lr)", "{lr} é😀", "f('{lr} é😀')"),
        ("f'{lr}'", "adam", "f'{\"adam\"}'"),
        ('f"{lr}"', "adam", "f\"{'adam'}\""),
        ('f"{lr}{{}}"', "{lr}", "f\"{'{lr}'}{{}}\""),
        ("f'''{lr}'''", "adam", "f'''{'adam'}'''"),
        ("f'''{lr}'''", "it's", "f'''{\"it's\"}'''"),
        ('f"{lr}"', "it's", "f\"{'''it's'''}\""),
        ("f'''{lr}'''", "", "f'''{''}'''"),
        ("f'''{lr}'''", '"it"\'s', 'f\'\'\'{""""it"\'s"""}\'\'\''),
        ("f\"{f'{lr}'}\"", 3, "f\"{f'{3}'}\""),
        ("f'''{f\"{lr}\"}'''", "adam", "f'''{f\"{'adam'}\"}'''"),
        ("f'{lr}'", "#!:}{", "f'{\"#!:}{\"}'"),
        ("f'{x:{lr}}'", ">10", "f'{x:{\">10\"}}'"),
    ],
)
def test_literals(text, value, expected):
    assert written(text, lr=value) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('f"{lr}"', 'say "hi"'),
        ("f'{lr}'", "it's"),
        ("f\"{f'{lr}'}\"", "adam"),
        ("f\"{f'{lr}'}\"", ""),
        ("f'''{lr}'''", 'it\'s "it"'),
        ("f'{lr}'", "a\\b"),
        ("f'{lr}'", "a\nb"),
    ],
)
def test_a_string_that_would_end_its_f_string_is_refused(text, value):
    with pytest.raises(SubstitutionError, match=r"^train\.py:2: lr=.* cannot be written into the f-string.*text = lr"):
        build(f"\nx = {text}").changes({"lr": value})


@pytest.mark.parametrize("value", [float("nan"), [1, 2], b"x", {}, np.zeros(3), object])
def test_values_without_literal_are_refused(value):
    with pytest.raises(SubstitutionError, match=r"lr=.* has no literal"):
        build("f(lr)").changes({"lr": value})


# Encodings


@pytest.mark.parametrize(
    ("data", "value", "expected"),
    [
        (b"\xef\xbb\xbff(lr)\r\n", 0.5, b"\xef\xbb\xbff(0.5)\r\n"),
        (
            b"\xef\xbb\xbf# coding: utf-8\nf(lr, '\xc3\xa9')",
            "é",
            b"\xef\xbb\xbf# coding: utf-8\nf('\xc3\xa9', '\xc3\xa9')",
        ),
        (b"# coding: latin-1\nf('\xe9', lr)", "é", b"# coding: latin-1\nf('\xe9', '\xe9')"),
        (b"# coding: latin-1\nf('\xe9', lr)", "€", b"# coding: latin-1\nf('\xe9', '\\u20ac')"),
        (
            b"#!/usr/bin/python\n# -*- coding: cp1252 -*-\n'\x80'; lr",
            0.5,
            b"#!/usr/bin/python\n# -*- coding: cp1252 -*-\n'\x80'; 0.5",
        ),
        (b"# coding: ascii\nlr", "ü", b"# coding: ascii\n'\\xfc'"),
        (b"# coding: shift_jis\n'\x83\\\x83\x8a'; lr", 1, b"# coding: shift_jis\n'\x83\\\x83\x8a'; 1"),
    ],
)
def test_encodings_are_kept(data, value, expected):
    assert written(data, lr=value) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x = 1\n\n\nf(lr, '\xe9')", r"^train\.py:4: not utf-8: save the file as UTF-8.*coding: latin-1"),
        (b"f(lr, '\xe9')", "'train.py' cannot be decoded .*UTF-8"),
        (b"# coding: ascii\nf(lr, '\xe9')", r"train\.py:2: not ascii"),
        (b"# coding: klingon\nf(lr)", "'train.py' cannot be decoded .*klingon"),
        (b"# coding: rot13\nf(lr)", "'train.py' cannot be decoded"),
        (b"\xef\xbb\xbf# coding: latin-1\nf(lr)", "'train.py' cannot be decoded"),
        (
            b"# coding: iso-2022-jp\n'\x1b$B\x1b(B'; f(lr)",
            "'train.py' cannot be decoded from iso-2022-jp and encoded again",
        ),
        (b"lr = 1\nf(lr\nx = 2", r"^train\.py:2: '\(' was never closed"),
        (b"lr = 1\nprint lr", r"^train\.py:2: Missing parentheses"),
        (b"if x:\n\tlr\n        lr", r"^train\.py:3: inconsistent use of tabs"),
        (b"def f():\nlr", r"^train\.py:2: expected an indented block"),
        (b"lr\0", r"^train\.py:1: .*null bytes"),
    ],
)
def test_files_that_cannot_be_rewritten_are_refused(data, message):
    with pytest.raises(SubstitutionError, match=message) as caught:
        build(data)
    assert "\n" not in str(caught.value)


def test_a_file_that_the_parser_changes_is_refused(monkeypatch):
    parse = libcst.parse_module
    for old, new in [("'a'", '"a"'), (" + 1", ""), (")", " )"), ("(lr)", "")]:
        monkeypatch.setattr(libcst, "parse_module", lambda text, old=old, new=new: parse(text.replace(old, new)))
        with pytest.raises(SubstitutionError, match=r"^train\.py:2: this line would not survive rewriting"):
            build("lr = 1\nx = lr + 1 + f('a') + f(lr)")


# Names that are read nowhere


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("learning_rate = 1\nf(learning_rate)", "learning_rat", "did you mean 'learning_rate'"),
        ("learning_rate = 1", "learningrate", "did you mean 'learning_rate'"),
        (
            "x = 1\nfor lr in y:\n  f(lr)\n  g(lr)",
            "lr",
            "on lines 3 and 4 of 'train.py' it is a parameter, loop variable",
        ),
        ("def f(lr):\n  lr = 2\n  return lr", "lr", "on line 3 of 'train.py' it is a parameter"),
        ("lr = 0.1\n# lr", "lr", r"read it there, or append \{lr\} to the command"),
        ("lr = 0.1\nlr *= 2", "lr", "read nowhere in 'train.py'"),
        ("", "lr", "read nowhere in 'train.py'"),
        ("x = '{lr}'", "lr", "read nowhere in 'train.py'"),
    ],
)
def test_a_name_read_nowhere_is_an_error_that_says_what_to_do(text, name, message):
    with pytest.raises(SubstitutionError, match=message) as caught:
        found(text, [name], arguments=["--other", "{x}", "{ lr }"])
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["import json\nvalues = json.load(open('../hyperparameters.json'))", "# see hyperparameters.json"]
)
def test_the_file_of_values_counts_as_a_read_of_all(text):
    for path in ("train.py", "train.sh"):
        substitution = Substitution(program({path: text}), ["lr", "w"], ["w"])
        assert substitution.changes({"lr": 1, "w": np.zeros(2)}) == {}
    given = program({"a.py": ""}, ["../hyperparameters.json"])
    assert Substitution(given, ["lr"]).changes({"lr": 1}) == {}


# Arguments, arrays, several files


def test_arguments():
    names = ["lr", "layers", "w"]
    given = ["30", "--lr", "{lr}", "--lr={lr}", "{layers}{lr}", "{ lr }", "{x}", "{{lr}}", "{}", "{w}"]
    substitution = Substitution(program({"train.sh": "echo $1"}, given), names, ["w"])
    values = {"lr": 1e-05, "layers": "2", "w": np.zeros(2)}
    assert substitution.write(values, {"w": "/tmp/w.npy"}).arguments == [
        *("30", "--lr", "1e-05", "--lr=1e-05", "21e-05", "{ lr }", "{x}", "{1e-05}", "{}", "/tmp/w.npy")
    ]
    assert substitution.changes(values) == {}
    assert substitution.write({**values, "lr": np.float64(0.5)}, {"w": "w"}).arguments[2] == "0.5"


def test_values_in_brackets_are_not_read_again():
    substitution = Substitution(program({"train.sh": ""}, ["{a}", "{b}"]), ["a", "b"])
    assert substitution.write({"a": "{b}", "b": "{a}"}, {}).arguments == ["{b}", "{a}"]


def test_without_hyperparameters_nothing_changes():
    substitution = found("f(lr)", [], ["{lr}"])
    assert substitution.changes({}) == {}
    assert substitution.write({}, {}).arguments == ["{lr}"]


@pytest.mark.parametrize(
    "text",
    [
        "lr = np.load(fs_tracker.get_artifact('lr'))\nf(lr)",
        "lr = np.load(get_artifact(name='lr'))\nf(lr)",
        'from studio.fs_tracker import get_artifact as _\nlr = a.b.get_artifact("lr")',
    ],
)
def test_arrays_are_never_written_into_the_text(text):
    assert found(text, arrays=["lr"]).changes({"lr": np.zeros(2)}) == {}


@pytest.mark.parametrize(
    "text", ["f(lr)", "get_artifact('other')", "get_artifact(lr)", "artifact('lr')", "get_artifact()"]
)
def test_an_array_that_is_loaded_nowhere_is_an_error(text):
    with pytest.raises(
        SubstitutionError, match=r"array hyperparameter 'lr' .* np.load\(fs_tracker.get_artifact\('lr'\)\)"
    ):
        found(text, arrays=["lr"])


def test_several_files():
    files = {"run/train.py": "import model\nf(lr)", "model.py": "g(depth)", "other.py": "lr = 1"}
    given = program(files, more=["model.py", "other.py"])
    substitution = Substitution(given, ["lr", "depth"])
    values = {"lr": 0.5, "depth": 3}
    assert substitution.changes(values) == {"run/train.py": b"import model\nf(0.5)", "model.py": b"g(3)"}
    end = "\n\\ No newline at end of file\n"
    assert substitution.diff(values) == (
        f"--- a/run/train.py\n+++ b/run/train.py\n@@ -1,2 +1,2 @@\n import model\n-f(lr){end}+f(0.5){end}"
        f"--- a/model.py\n+++ b/model.py\n@@ -1 +1 @@\n-g(depth){end}+g(3){end}"
    )
    with pytest.raises(SubstitutionError, match=r"'x' is read nowhere in 'run/train\.py'"):
        Substitution(given, ["x"])
    with pytest.raises(SubstitutionError, match="'x' is read nowhere in 'model'"):
        Substitution(given, ["x"], shown="model")


def test_one_parse_per_search(monkeypatch):
    substitution = build("lr = 0.1\nprint(f'{lr} {lr=}', lr ** 2)")

    def fail(*args, **kwargs):
        raise AssertionError("parsed again")

    monkeypatch.setattr(libcst, "parse_module", fail)
    monkeypatch.setattr("builtins.compile", fail)
    for value in (0.5, -3, "adam"):
        assert substitution.changes({"lr": value})
        assert substitution.diff({"lr": value})


# Behaviour: a script prints the same whether `lr` is assigned the value or replaced by it.

SCRIPTS = [
    "print(lr, repr(lr), f'{lr} {lr!r:>8}', '%s' % lr, 'lr')",
    "print(f'{lr=} { lr = } {lr=!s:>6} {lr is lr=}')",
    "print([lr for _ in range(2)], {lr: lr}, (lambda x=lr: (x, lr))())",
    "def f(lr): return [lr for x in 'ab'], lr\nprint(f(5), lr)",
    "def f(a=lr, *, b=lr): return a, b, lr\nprint(f(), f(1, b=2))",
    "class A:\n    rate = lr\n    def f(self): return lr\nprint(A.rate, A().f())",
    "class A:\n    lr = 7\n    def f(self, lr=8): return self.lr, lr\nprint(A.lr, A().f(), lr)",
    "class A:\n    for lr in 'ab': pass\n    x = [y for y in lr]\n    def f(self, x=lr): return x, lr\nprint(A().f(), A.x)",
    "def f():\n    def g(lr=2):\n        def h(): return lr\n        return h()\n    return g(), lr\nprint(f())",
    "print([lr for lr in 'ab'], lr, {lr for lr in 'a'}, list(lr for lr in 'ab'), lr)",
    "print([x for lr in ['ab'] for x in lr], lr)",
    "def f(*lr, **kw): return lr, kw\nprint(f(lr, lr=lr))",
    "def f():\n    try: 1 / 0\n    except ZeroDivisionError as lr: return str(lr)\nprint(f(), lr)",
    "def f():\n    for lr in 'ab': pass\n    return lr\nprint(f(), lr)",
    "def f():\n    import math as lr\n    return lr.pi\nprint(f(), lr)",
    "def f(x):\n    match x:\n        case [lr, *_]: return lr\nprint(f([1]), lr)",
    "import asyncio\nasync def f(lr=lr): return lr\nprint(asyncio.run(f()), asyncio.run(f(1)))",
    "print(lr if lr else not lr, lr == lr, [lr][0], (lr,), type(lr).__name__, lr.__class__.__name__)",
    "x = lr\nx = [x, lr]\nprint(x)",
    "d = {'lr': 1}\nprint(d['lr'], d | dict(lr=lr), f\"{d['lr']} {d}\")",
    "def f(lr):\n    def g():\n        nonlocal lr\n        lr = lr + 1\n    g()\n    return lr\nprint(f(1), lr)",
]


def run(text):
    with redirect_stdout(io.StringIO()) as out, warnings.catch_warnings(action="ignore"):
        exec(compiled(text), {"__name__": "__main__"})  # noqa: S102
    return out.getvalue()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_substituted_script_does_what_an_edited_one_does(script):
    before = f"lr = 0.1\n{script}\n"
    for value in (3, -2, 0.25, -1e-05, True, None, "adam", "a-b c"):
        assert run(written(before, lr=value)) == run(before.replace("0.1", repr(value)))


FORMS = """
-X | ~X | not X | (X) | (X)**2 | lr**X | X**X | X.real | X.__class__ | (X).real | [X][0] | X[0] | X() | X - 1 | 1-X
X < X | X or X | X if X else X | X, X | X in (X,) | [X for x in (1,2)] | [lr for lr in (X,)] | str(X) | {'lr': X}
(lambda x=X: lr)() | (lambda lr: X)(0.5) | f'{X}' | f'''{X!r:>9}''' | f'{lr=}' | f'''{X=}''' | f'{lr=:{lr}}'
"""


@given(
    st.lists(st.sampled_from(re.split(r" \| |\n", FORMS.strip())), min_size=1, max_size=4),
    st.sampled_from([0.25, -1.5, -1, 1]),
)
def test_expressions_mean_the_same(forms, value):
    def outcome(text):
        try:
            return run(text)
        except Exception as error:
            return repr(error)

    expression = "lr"
    for form in forms:
        expression = form.replace("X", expression)
    script = f"lr = 0.1\nprint({expression}, sep='')\n"
    try:
        compiled(script)
        changed = written(script, lr=value)
    except SyntaxError:
        return
    except SubstitutionError as error:
        changed = str(error)
    if "cannot be written outside braces" in changed:  # refused, and says so
        return
    assert outcome(changed) == outcome(script.replace("0.1", repr(value)))
