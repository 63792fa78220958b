"""Values in configuration files: what the format's own parser reads back, and nothing else changes."""

import configparser
import json
import tomllib

import pytest
import ruamel.yaml
import yaml
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import SubstitutionError
from studio.script.places import Places
from studio.script.places.config_files import files_read
from studio.script.program import Program
from studio.script.substitution import Substitution

YAML = """\
# the rate
defaults:
    - a
optimizer: {lr: 1e-3, name: adam}   # inline
model:
  layers: [64, 32]
  stages:
  - width: 8   # first
    act: 'relu'
  - width: 16
    act: "gelu"
  dropout:
  out: ${optimizer.lr}
  text: |
    lr: 3
flag: true
anchor: &a 3
alias: *a
"""
JSON = """\
{
  // the rate
  "optimizer": {"lr": 1e-3, "name": "adam",},
  "model": {"layers": [64, 32], "stages": [{"width": 8}, {"width": 16}], "lr\\u0061": null},
  "flag": true  /* last */
}
"""
TOML = """\
# the rate
title = "x"
[optimizer]  # section
lr = 1e-3 # here
name = 'adam'
layers = [ 64,
  32 ] # two
inline = { width = 8, "quoted key" = true }
[[stages]]
width = 8
[[stages]]
width = 16
[tool.x.y]
deep.er = 3
"""
INI = """\
; the rate
[optimizer]
lr = 1e-3   ; here
name: adam
[model]
width=8
flag = true
"""
ENV = "# rate\nLR=0.1 # here\nexport NAME='adam'\nEMPTY=\nTEXT=\"a b\"\n"


def write(path, text, key, value):
    files = {"train.py": b"x = 1\n", path: text.encode()}
    address = f"{path}:{key}"
    return Substitution(Program("train.py", read=files.get), [address]).write({address: value}).files[path].decode()


CASES = [
    ("c.yaml", YAML, "optimizer.lr", 0.5, "lr: 1e-3", "lr: 0.5"),
    ("c.yaml", YAML, "optimizer.lr", 1e-5, "lr: 1e-3", "lr: 1.0e-05"),
    ("c.yaml", YAML, "lr", 1, "lr: 1e-3", "lr: 1"),
    ("c.yaml", YAML, "optimizer.name", "sgd", "name: adam", "name: sgd"),
    ("c.yaml", YAML, "optimizer.name", "yes", "name: adam", "name: 'yes'"),
    ("c.yaml", YAML, "optimizer.name", "a: b", "name: adam", "name: 'a: b'"),
    ("c.yaml", YAML, "model.layers[1]", 7, "[64, 32]", "[64, 7]"),
    ("c.yaml", YAML, "model.stages[1].width", 7, "width: 16", "width: 7"),
    ("c.yaml", YAML, "model.stages.1.width", 7, "width: 16", "width: 7"),
    ("c.yaml", YAML, "model.stages[0].act", "elu", "act: 'relu'", "act: 'elu'"),
    ("c.yaml", YAML, "model.stages[1].act", "elu", 'act: "gelu"', 'act: "elu"'),
    ("c.yaml", YAML, "model.dropout", 0.5, "dropout:", "dropout: 0.5"),
    ("c.yaml", YAML, "flag", False, "flag: true", "flag: false"),
    ("c.yaml", YAML, "flag", None, "flag: true", "flag: null"),
    ("c.yaml", YAML, "anchor", 4, "&a 3", "&a 4"),
    ("c.yml", "lr: 0.1\r\nb: 2\r\n", "lr", 3, "0.1", "3"),
    ("c.yaml", "é: 1\nlr: 0.1", "lr", 3, "0.1", "3"),
    ("c.json", JSON, "optimizer.lr", 1e-5, "1e-3", "1e-05"),
    ("c.json", JSON, "optimizer.name", 'a"b', '"adam"', '"a\\"b"'),
    ("c.json", JSON, "model.layers[0]", 7, "[64,", "[7,"),
    ("c.json", JSON, "model.stages[1].width", 7, '"width": 16', '"width": 7'),
    ("c.json", JSON, "model.lra", False, "null", "false"),
    ("c.json", JSON, "flag", None, "true", "null"),
    ("pyproject.toml", TOML, "optimizer.lr", 1e-5, "1e-3", "1e-05"),
    ("pyproject.toml", TOML, "optimizer.lr", 1e20, "1e-3", "1e+20"),
    ("pyproject.toml", TOML, "optimizer.name", "sgd", "'adam'", "'sgd'"),
    ("pyproject.toml", TOML, "optimizer.name", "it's", "'adam'", '"it\'s"'),
    ("pyproject.toml", TOML, "optimizer.layers[1]", 7, "32 ]", "7 ]"),
    ("pyproject.toml", TOML, "optimizer.inline.width", 7, "width = 8, ", "width = 7, "),
    ("pyproject.toml", TOML, "stages[1].width", 7, "width = 16", "width = 7"),
    ("pyproject.toml", TOML, "tool.x.y.deep.er", 7, "deep.er = 3", "deep.er = 7"),
    ("pyproject.toml", TOML, "title", True, '"x"', "true"),
    ("c.ini", INI, "optimizer.lr", 1e-5, "1e-3", "1e-05"),
    ("c.ini", INI, "optimizer.name", "a b", "adam", "a b"),
    ("c.cfg", INI, "width", 7, "width=8", "width=7"),
    ("settings", INI, "model.flag", False, "true", "false"),
    (".env", ENV, "LR", 0.5, "0.1", "0.5"),
    (".env", ENV, "NAME", "sgd", "'adam'", "'sgd'"),
    (".env", ENV, "EMPTY", 3, "EMPTY=", "EMPTY=3"),
    (".env", ENV, "TEXT", "c d", '"a b"', '"c d"'),
    (".env.local", ENV, "LR", "a b", "0.1", '"a b"'),
]


@pytest.mark.parametrize(("path", "text", "key", "value", "before", "after"), CASES)
def test_one_value_changes_and_nothing_else(path, text, key, value, before, after):
    assert text.count(before) >= 1
    assert write(path, text, key, value) == text.replace(before, after, 1)


@pytest.mark.parametrize(
    ("path", "text", "key", "value", "message"),
    [
        ("c.json", JSON, "flag", float("inf"), "c.json:5: inf cannot be written as JSON"),
        ("c.toml", TOML, "title", None, "c.toml:2: None cannot be written as TOML"),
        (".env", ENV, "LR", "a\nb", "cannot be written into a file with lines"),
        ("c.yaml", YAML, "model.out", 3, "there is no 'model.out'"),
        ("c.yaml", YAML, "model.width", 3, "may be any of these"),
    ],
)
def test_what_a_format_cannot_say_is_refused(path, text, key, value, message):
    with pytest.raises(SubstitutionError) as caught:
        write(path, text, key, value)
    assert message in str(caught.value)


def test_a_file_that_the_script_reads_is_searched_for_plain_names():
    files = {
        "train.py": b"c = load('conf/base.yaml')\n",
        "conf/base.yaml": b"optimizer:\n  lr: 0.1\n",
        "other.yaml": b"lr: 1\n",
    }
    changed = Substitution(Program("train.py", read=files.get), ["lr"]).changes({"lr": 3})
    assert changed == {"conf/base.yaml": b"optimizer:\n  lr: 3\n"}
    given = Program("train.py", ["--config=other.yaml"], read={**files, "train.py": b"x = 1"}.get)
    assert Substitution(given, ["lr"]).changes({"lr": 3}) == {"other.yaml": b"lr: 3\n"}


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**12), 10**12) | st.booleans()
STRANGE = "\x7f\x85\u2028\u2029\ufeff"
texts = st.text(st.characters(codec="utf-8", exclude_characters=STRANGE, exclude_categories=("Cc", "Cs")), max_size=12)


@given(numbers | texts | st.none())
def test_yaml_reads_back_what_was_written(value):
    first = ("optimizer.lr", lambda c: c["optimizer"].pop("lr"))
    for key, read in [first, ("model.stages[0].act", lambda c: c["model"]["stages"][0].pop("act"))]:
        text = write("c.yaml", YAML, key, value)
        for load in (yaml.safe_load, ruamel.yaml.YAML(typ="safe", pure=True).load):
            before, after = load(YAML), load(text)
            read(before)
            found = read(after)
            assert type(found) is type(value)
            assert found == value
            assert after == before


@given(numbers | texts | st.none())
def test_json_reads_back_what_was_written(value):
    plain = json.dumps({"a": {"lr": 0.1, "b": [1, "é"]}, "c": None}, indent=2)
    before, after = json.loads(plain), json.loads(write("c.json", plain, "a.lr", value))
    before["a"].pop("lr")
    assert after["a"].pop("lr") == value
    assert after == before


@given(numbers | texts)
def test_toml_reads_back_what_was_written(value):
    for key in ("optimizer.lr", "optimizer.name"):
        before, after = tomllib.loads(TOML), tomllib.loads(write("c.toml", TOML, key, value))
        last = key.partition(".")[2]
        before["optimizer"].pop(last)
        assert after["optimizer"].pop(last) == value
        assert after == before


@given(st.floats(allow_nan=False, allow_infinity=False) | st.from_regex(r"[A-Za-z][\w./-]{0,9}", fullmatch=True))
def test_ini_reads_back_what_was_written(value):
    def load(text):
        parser = configparser.ConfigParser(inline_comment_prefixes=";", interpolation=None)
        parser.read_string(text)
        return {name: dict(parser[name]) for name in parser.sections()}

    before, after = load(INI), load(write("c.ini", INI, "optimizer.lr", value))
    before["optimizer"].pop("lr")
    assert after["optimizer"].pop("lr") == str(value)
    assert after == before


def test_a_file_that_the_script_writes_is_no_configuration():
    text = "c = open('c.json')\nwith open('r.json', 'w') as f: pass\nopen(str('s.json'), mode='a')\n"
    files = {"train.py": text.encode(), "c.json": b'{"lr": 1}', "r.json": b'{"lr": 2}', "s.json": b'{"lr": 3}'}
    assert files_read(Program("train.py", read=files.get)) == ["c.json"]


def test_the_file_that_an_argument_names_comes_before_a_default():
    files = {
        "train.py": "import argparse\np = argparse.ArgumentParser()\np.add_argument('--config', default='base.yaml')\n",
        "base.yaml": "lr: 0.1\nonly: 1\n",
        "other.yaml": "lr: 0.2\n",
    }
    places = Places(
        Program("train.py", ["--config=./other.yaml"], read=lambda path: (files.get(path) or "").encode() or None)
    )
    assert places.choose("lr").file == "other.yaml"
    assert places.choose("only").file == "base.yaml"
