"""Places of a name, form by form. In a text, the value replaces «0.1»; nothing else may change."""

import json
import re

import pytest

from studio.errors import SubstitutionError
from studio.script.places import Places, apply_edits
from studio.script.program import Program
from studio.script.substitution import Substitution

HEAD = "import argparse\np = argparse.ArgumentParser()\n"
TYRO = "import tyro\nfrom dataclasses import dataclass\n@dataclass\nclass Optim:\n    learning_rate: float = 0.1\n    fast: bool = False\n"
HYDRA = "import hydra\n@hydra.main(config_path='conf', config_name='config')\ndef main(cfg): pass\nmain()\n"
NANO = "import sys\nfor arg in sys.argv[1:]:\n    key, val = arg.split('=')\n    assert key[:2] == '--'\n    globals()[key[2:]] = val\n"


def program(files, arguments=(), env=None, script=None, command=()):
    data = {path: text.encode() for path, text in files.items()}
    return Program(script or next(iter(files)), arguments, env, read=data.get, command=command)


def written(files, name, value, arguments=(), **options):
    given = program(files, arguments, **options)
    return Substitution(given, [name]).write({name: value})


# --- texts ------------------------------------------------------------------------------------------------------------

LITERALS = {
    # keyword of a call
    "keyword": ("clf = SVC(C=«1.0»)", "C", 0.5),
    "keyword, text": ("clf = SVC(kernel=«'rbf'», C=1)", "kernel", "poly"),
    "keyword, boolean": ("m = Ridge(fit_intercept=«True»)", "fit_intercept", False),
    "keyword, None": ("m = Tree(max_depth=«None»)", "max_depth", 3),
    "keyword, negative": ("f(x=«-0.5»)", "x", -2),
    "keyword, arithmetic": ("f(x=«2 * 64»)", "x", 7),
    "keyword, power": ("f(x=«10**-3»)", "x", 0.5),
    "keyword of a method": ("model.train(lr0=«0.02», epochs=3)", "lr0", 0.1),
    "keyword of the right call": ("a = SVC(C=«1.0»)\nb = LogisticRegression(C=2.0)", "SVC.C", 5),
    "keyword by the variable": ("a = SVC(C=1.0)\nb = SVC(C=«2.0»)", "b.C", 5),
    "keyword by the line": ("a(SVC(C=1.0))\na(SVC(C=«2.0»))", "train.py:2:C", 5),
    "keyword of a nested call": ("p = make_pipeline(Scaler(), SVC(gamma=«0.1»))", "gamma", 1),
    "keyword in a function": ("def main():\n    SGD(params, lr=«0.1»)\nmain()", "lr", 1),
    "item of a tuple": ("Adam(betas=(0.9, «0.99»))", "betas[1]", 0.5),
    "item of a list in a keyword": ("MLP(layers=[«64», 32])", "MLP.layers[0]", 8),
    "keyword in an f-string": ("print(f'{f(lr=«0.1»)}')", "lr", 2),
    # dict
    "dict": ('params = {"eta": «0.1», "depth": 3}', "eta", 0.5),
    "dict, addressed": ('a = {"eta": 0.1}\nb = {"eta": «0.1»}', "b.eta", 0.5),
    "nested dict": ('c = {"optim": {"lr": «0.1»}, "lr": 3}', "optim.lr", 0.5),
    "call of dict": ("k = dict(k=«3»)", "k", 5),
    "key assigned": ("param['eta'] = «0.1»", "eta", 0.5),
    "key assigned, addressed": ("a['eta'] = 1\nparam['eta'] = «0.1»", "param.eta", 0.5),
    "keys in keys": ("c['a']['b'] = «1»", "a.b", 2),
    "dict in a call": ("wandb.init(config={'lr': «0.1»})", "lr", 0.5),
    "dict of another name": ("CONFIG = {\n    'lr': «1e-3»,  # rate\n}", "CONFIG.lr", 0.5),
    # attribute, class, dataclass, default
    "attribute": ("rbm.learning_rate = «0.06»", "learning_rate", 0.5),
    "attribute, addressed": ("a.lr = 1\nrbm.lr = «0.06»", "rbm.lr", 0.5),
    "attribute of self": ("class A:\n    def __init__(self):\n        self.lr = «0.1»", "lr", 0.5),
    "class attribute": ("class Config:\n    alpha = «1e-4»\nf(Config.alpha)", "alpha", 0.5),
    "class attribute, addressed": ("class A:\n    x = 1\nclass B:\n    x = «2»", "B.x", 0.5),
    "annotated": ("class Config:\n    alpha: float = «1e-4»", "Config.alpha", 0.5),
    "dataclass": ("@dataclass\nclass Config:\n    layers: int = «2»", "layers", 5),
    "field": ("@dataclass\nclass C:\n    lr: float = field(default=«0.1»)", "lr", 5),
    "pydantic field": ("class C(BaseModel):\n    lr: float = Field(«0.1», gt=0)", "lr", 5),
    "function default": ("def main(eta=«0.1»): pass\nmain()", "eta", 5),
    "function default, annotated": ("def main(eta: float = «0.1») -> None: pass\nmain()", "main.eta", 5),
    "default left out by a call": ("def f(a, eta=«0.1»): pass\nf(1)", "eta", 5),
    "constructor's default": ("class Net:\n    def __init__(self, hidden=«64»): pass\nNet()", "hidden", 5),
    "call that gives it": ("def f(eta=0.1): pass\nf(eta=«0.3»)", "eta", 5),
    "argument by position": ("def f(a, eta=0.1): pass\nf(1, «0.3»)", "eta", 5),
    "list": ("layers = [«64», 32]\nbuild(layers)", "layers[0]", 5),
    # variables
    "schedule": ("lr = «0.1»\nfor e in range(3):\n    lr *= 0.9\n    print(lr)", "lr", 0.5),
    "assigned in a loop": ("lr = «0.1»\nfor e in x:\n    if e == 3:\n        lr = 0.01\n    f(lr)", "lr", 0.5),
    "assigned by itself": ("n = «10»\nn = n + 1\nprint(n)", "n", 3),
    "global schedule": ("lr = «0.1»\ndef f():\n    global lr\n    lr = lr / 2\n    return lr", "lr", 0.5),
    "read once": ("lr = 0.1\nprint(«lr»)", "lr", 0.5),
    "constant in capitals": ("LR = 3e-4\ndef f(): return «LR»", "LR", 0.5),
    "capitals for small letters": ("LR = 3e-4\ndef f(): return «LR»", "lr", 0.5),
    "two branches": ("if x:\n    n = 1\nelse:\n    n = 2\nf(«n»)", "n", 0.5),
    "pair": ("a, b = 1, 2\nf(a, «b»)", "b", 0.5),
    "in a function by its name": ("def f():\n    n = 1\n    return «n»\ndef g():\n    n = 2\n    return n", "f.n", 5),
    "computed": ("lr = rate()\nf(«lr»)", "lr", 0.5),
}  # fmt: skip


@pytest.mark.parametrize("case", LITERALS)
def test_the_value_goes_to_its_place_and_nothing_else_changes(case):
    text, name, value = LITERALS[case]
    source = re.sub("[«»]", "", text)
    expected = re.sub("«.*?»", lambda _: repr(value), text)
    if "f'" in text or 'f"' in text:
        expected = expected.replace(repr(str(value)), repr(value))
    result = written({"train.py": source}, name, value)
    assert result.files["train.py"].decode() == expected
    assert result.arguments == []


MODULES = {
    "variable of a module": ({"model.py": "hidden = «64»\ndef f(): return hidden"}, "import model", "hidden"),
    "imported by name": ({"model.py": "hidden = «64»"}, "from model import hidden\nf(hidden)", "hidden"),
    "imported all": ({"config.py": "lr = «64»"}, "from config import *\nf(lr)", "config.py:lr"),
    "module in a package": ({"pkg/net.py": "SVC(C=«64»)", "pkg/__init__.py": ""}, "from pkg.net import x", "C"),
    "relative import": ({"pkg/__init__.py": "from .net import f", "pkg/net.py": "depth = «64»"}, "import pkg", "depth"),
    "module of a module": ({"a.py": "import b", "b.py": "class B:\n    size = «64»"}, "import a", "B.size"),
    "addressed": ({"model.py": "lr = «64»"}, "import model\nlr = 3\nprint(lr)", "model.py:lr"),
    "executed configuration": ({"config.py": "rate = «64»"}, "rate = 1\nexec(open('config.py').read())\nf(rate)", "rate"),
}  # fmt: skip


@pytest.mark.parametrize("case", MODULES)
def test_names_are_found_in_local_modules(case):
    files, script, name = MODULES[case]
    plain = {path: re.sub("[«»]", "", text) for path, text in files.items()}
    result = written({"train.py": script, **plain}, name, 7)
    [changed] = [path for path, text in files.items() if "«" in text]
    assert {path: data.decode() for path, data in result.files.items()} == {
        changed: re.sub("«.*»", "7", files[changed])
    }


# --- the command line -------------------------------------------------------------------------------------------------

OPTIONS = {
    "argparse": (HEAD + "p.add_argument('--lr', type=float, default=0.1)", "lr", 0.5, [], ["--lr=0.5"]),
    "dashes": (HEAD + "p.add_argument('--learning-rate')", "learning_rate", 0.5, [], ["--learning-rate=0.5"]),
    "underscores": (HEAD + "p.add_argument('--learning_rate')", "learning-rate", 0.5, [], ["--learning_rate=0.5"]),
    "short and long": (HEAD + "p.add_argument('-l', '--lr')", "lr", 0.5, [], ["--lr=0.5"]),
    "short alone": (HEAD + "p.add_argument('-C', type=float)", "C", 0.5, [], ["-C", "0.5"]),
    "stored as": (HEAD + "p.add_argument('--rate', dest='lr')", "lr", 0.5, [], ["--rate=0.5"]),
    "in the place of the one there": (HEAD + "p.add_argument('--lr')", "lr", 5, ["--lr", "3", "x"], ["--lr=5", "x"]),
    "in the place of a joined one": (HEAD + "p.add_argument('--lr')", "lr", 5, ["--lr=3", "x"], ["--lr=5", "x"]),
    "before --": (HEAD + "p.add_argument('--lr')", "lr", 5, ["--", "x"], ["--lr=5", "--", "x"]),
    "negative": (HEAD + "p.add_argument('--lr')", "lr", -0.5, [], ["--lr=-0.5"]),
    "several values": (HEAD + "p.add_argument('--n', nargs='+')", "n", 5, [], ["--n", "5"]),
    "store_true on": (HEAD + "p.add_argument('--amp', action='store_true')", "amp", True, [], ["--amp"]),
    "store_true off": (HEAD + "p.add_argument('--amp', action='store_true')", "amp", False, ["--amp", "3"], ["3"]),
    "store_false": (HEAD + "p.add_argument('--no-bn', dest='bn', action='store_false')", "bn", False, [], ["--no-bn"]),
    "store_false on": (HEAD + "p.add_argument('--no-bn', dest='bn', action='store_false')", "bn", True, [], []),
    "optional boolean": (
        HEAD + "p.add_argument('--x', action=argparse.BooleanOptionalAction)", "x", False, ["--x"], ["--no-x"],
    ),
    "type=bool": (HEAD + "p.add_argument('--x', type=bool)", "x", False, [], ["--x="]),
    "the option wins over its variable": (
        HEAD + "p.add_argument('--lr')\nlr = p.parse_args().lr\nprint(lr)", "lr", 5, [], ["--lr=5"],
    ),
    "the option wins over a constant": (HEAD + "p.add_argument('--lr')\nlr = 0.1\nprint(lr)", "lr", 5, [], ["--lr=5"]),
    "behind a subcommand": (
        HEAD + "s = p.add_subparsers()\nt = s.add_parser('fit')\nt.add_argument('--lr')", "lr", 5, ["fit"], ["fit", "--lr=5"],
    ),
    "before a subcommand": (
        HEAD + "p.add_argument('--lr')\ns = p.add_subparsers()\ns.add_parser('fit')", "lr", 5, ["fit"], ["--lr=5", "fit"],
    ),
    "click": ("import click\n@click.command()\n@click.option('--lr', default=0.1)\ndef f(lr): pass", "lr", 5, [], ["--lr=5"]),
    "click pair": ("@click.command()\n@click.option('--bn/--no-bn')\ndef f(bn): pass", "bn", False, [], ["--no-bn"]),
    "click flag": ("@click.command()\n@click.option('--bn', is_flag=True)\ndef f(bn): pass", "bn", True, [], ["--bn"]),
    "click argument": ("@click.command()\n@click.argument('rate')\ndef f(rate): pass", "rate", 5, [], ["5"]),
    "typer": ("import typer\ndef main(learning_rate: float = 0.1): pass\ntyper.run(main)", "learning_rate", 5, [], ["--learning-rate=5"]),
    "typer option": (
        "import typer\ndef main(lr: float = typer.Option(0.1, '--rate', '-r')): pass\ntyper.run(main)", "lr", 5, [], ["--rate=5"],
    ),
    "typer annotated": (
        "import typer\napp = typer.Typer()\n@app.command()\ndef main(lr: Annotated[float, typer.Option('--rate')] = 0.1): pass",
        "lr", 5, [], ["--rate=5"],
    ),
    "typer boolean": ("import typer\ndef main(fast: bool = True): pass\ntyper.run(main)", "fast", False, [], ["--no-fast"]),
    "typer argument": ("import typer\ndef main(rate: float, x: int = 3): pass\ntyper.run(main)", "rate", 5, [], ["5"]),
    "tyro function": ("import tyro\ndef main(rate_a: float = 0.1): pass\ntyro.cli(main)", "rate_a", 5, [], ["--rate-a=5"]),
    "tyro nested": (TYRO + "@dataclass\nclass A:\n    optim: Optim\ntyro.cli(A)", "learning_rate", 5, [], ["--optim.learning-rate=5"]),
    "tyro nested, factory": (
        TYRO + "@dataclass\nclass A:\n    optim: Optim = field(default_factory=Optim)\ntyro.cli(A)",
        "optim.learning_rate", 5, [], ["--optim.learning-rate=5"],
    ),
    "tyro boolean": (TYRO + "@dataclass\nclass A:\n    optim: Optim\ntyro.cli(A)", "fast", True, [], ["--optim.fast"]),
    "tyro boolean off": (TYRO + "@dataclass\nclass A:\n    optim: Optim\ntyro.cli(A)", "fast", False, [], ["--optim.no-fast"]),
    "Hugging Face": (
        "from transformers import HfArgumentParser\n@dataclass\nclass Args:\n    learning_rate: float = 0.1\nHfArgumentParser(Args)",
        "learning_rate", 5, [], ["--learning_rate=5"],
    ),
    "Hugging Face, several": (
        "from transformers import HfArgumentParser\n@dataclass\nclass M:\n    x: int = 1\n@dataclass\nclass D:\n    y: int = 1\n"
        "HfArgumentParser((M, D)).parse_args_into_dataclasses()",
        "y", 5, [], ["--y=5"],
    ),
    "fire": ("import fire\ndef train(lr=0.1): pass\nfire.Fire(train)", "lr", 5, [], ["--lr=5"]),
    "fire with all functions": ("import fire\ndef train(lr=0.1): pass\nfire.Fire()", "lr", 5, ["train"], ["train", "--lr=5"]),
    "fire class": ("import fire\nclass T:\n    def fit(self, lr=0.1): pass\nfire.Fire(T)", "lr", 5, ["fit"], ["fit", "--lr=5"]),
    "Lightning": ("class M:\n    def __init__(self, lr=0.1): pass\nLightningCLI(M)", "lr", 5, ["fit"], ["fit", "--model.lr=5"]),
    "Tap": ("class A(Tap):\n    lr: float = 0.1\nA().parse_args()", "lr", 5, [], ["--lr=5"]),
    "absl": ("from absl import flags\nflags.DEFINE_float('lr', 0.1, 'rate')", "lr", 5, [], ["--lr=5"]),
    "docopt": ("'''Usage: t.py [options]\n\nOptions:\n  --lr=<x>  Rate [default: 0.1].\n'''\ndocopt(__doc__)", "lr", 5, [], ["--lr=5"]),
    "its own parser": ("import sys\nfor a in sys.argv:\n    if a.startswith('--lr='): lr = a[5:]", "lr", 5, [], ["--lr=5"]),
    "its own parser, apart": ("import sys\nx = sys.argv[sys.argv.index('--lr') + 1]", "lr", 5, [], ["--lr", "5"]),
    "getopt": ("import sys, getopt\nopts, rest = getopt.getopt(sys.argv[1:], 'l:', ['rate='])", "rate", 5, [], ["--rate=5"]),
    "sys.argv": ("import sys\nalpha = float(sys.argv[1])\nprint(alpha)", "alpha", 5, [], ["5"]),
    "sys.argv, the second": ("import sys\na = sys.argv[1]\nb = float(sys.argv[2])", "b", 5, ["x"], ["x", "5"]),
    "sys.argv, given": ("import sys\na = sys.argv[1]\nb = float(sys.argv[2])", "a", 5, ["x", "y"], ["5", "y"]),
    "sys.argv with a default": ("import sys\na = float(sys.argv[1]) if len(sys.argv) > 1 else 0.1", "a", 5, [], ["5"]),
    "sys.argv, unpacked": ("import sys\n_, a, b = sys.argv", "b", 5, ["x"], ["x", "5"]),
    "positional of argparse": (HEAD + "p.add_argument('rate', type=float)", "rate", 5, ["--x=3"], ["--x=3", "5"]),
    "positional of argparse, given": (HEAD + "p.add_argument('a')\np.add_argument('b')", "b", 5, ["1", "2"], ["1", "5"]),
    "option no source shows": ("x = parse()", "--learning_rate", 5, [], ["--learning_rate=5"]),
    "option no source shows, as its neighbours": ("x = parse()", "--lr", 5, ["--x", "3"], ["--x", "3", "--lr", "5"]),
    "option no source shows, given": ("x = parse()", "--lr", 5, ["--lr=3"], ["--lr=5"]),
    "option addressed": (HEAD + "p.add_argument('-r', '--rate')", "--rate", 5, [], ["--rate=5"]),
    "brackets": ("x = 1", "lr", 5, ["--rate", "{lr}"], ["--rate", "5"]),
    "brackets leave the variable": ("lr = 0.1\nlr *= 0.9\nprint(lr)", "lr", 5, ["{lr}"], ["5"]),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_options_and_arguments_take_the_value_and_the_text_stays(case):
    text, name, value, before, after = OPTIONS[case]
    result = written({"train.py": text}, name, value, before)
    assert result.arguments == after
    assert result.files == {}


HYDRA_FILES = {
    "conf/config.yaml": "defaults:\n  - optimizer: adam\n  - _self_\nseed: 1\nout: ${now:%Y}\nmodel:\n  width: 64\n",
    "conf/optimizer/adam.yaml": "lr: 0.1\n",
    "conf/optimizer/sgd.yaml": "lr: 0.2\nmomentum: 0.9\n",
}


@pytest.mark.parametrize(
    ("name", "value", "before", "after"),
    [
        ("width", 5, [], ["model.width=5"]),
        ("lr", 5, [], ["optimizer.lr=5"]),
        ("optimizer.lr", 5, ["optimizer.lr=1"], ["optimizer.lr=5"]),
        ("momentum", 5, ["optimizer=sgd"], ["optimizer=sgd", "optimizer.momentum=5"]),
        ("hydra:trainer.x", True, [], ["trainer.x=true"]),
        ("hydra:trainer.x", "a b", [], ["trainer.x='a b'"]),
        ("hydra:new", 5, ["+new=3"], ["+new=5"]),
        ("seed", None, [], ["seed=null"]),
    ],
)
def test_hydra_takes_overrides(name, value, before, after):
    result = written({"train.py": HYDRA, **HYDRA_FILES}, name, value, before)
    assert (result.arguments, result.files) == (after, {})


def test_a_registered_dataclass_is_a_hydra_configuration():
    text = (
        "import hydra\nfrom hydra.core.config_store import ConfigStore\n@dataclass\nclass Opt:\n    lr: float = 0.1\n"
        "@dataclass\nclass C:\n    opt: Opt = field(default_factory=Opt)\nConfigStore.instance().store(name='config', node=C)\n"
        "@hydra.main(config_name='config', version_base=None)\ndef main(cfg): pass\n"
    )
    assert written({"train.py": text}, "lr", 5).arguments == ["opt.lr=5"]


@pytest.mark.parametrize(
    ("text", "name", "env"),
    [
        ("import os\nx = os.environ['ALPHA']", "ALPHA", "ALPHA"),
        ("import os\nx = os.environ['ALPHA']", "alpha", "ALPHA"),
        ("import os\nx = float(os.getenv('ALPHA', '0.1'))", "ALPHA", "ALPHA"),
        ("from os import environ\nx = environ.get('ALPHA', 1)", "ALPHA", "ALPHA"),
        ("x = 1", "env:ANY", "ANY"),
    ],
)
def test_environment_variables_are_set(text, name, env):
    result = written({"train.py": text}, name, 0.5)
    assert (result.env, result.files, result.arguments) == ({env: "0.5"}, {}, [])


def test_brackets_in_the_environment_and_in_a_command_are_filled():
    given = {"train.py": "x = 1"}
    assert written(given, "lr", 5, env={"LR": "{lr}"}).env == {"LR": "5"}
    assert written(given, "n", 2, command=["torchrun", "--nproc={n}", "train.py"]).command[1] == "--nproc=2"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("learning_rate", "learning_rate = 6e-4\nexec(open('configurator.py').read())\nlr = learning_rate\nprint(lr)"),
        ("dropout", "dropout = 0.0\nexec(open('configurator.py').read())\nlr = dropout"),
    ],
)
def test_an_executed_configurator_takes_options(name, text):
    result = written({"train.py": text, "configurator.py": NANO}, name, 0.5, ["config/x.py"])
    assert result.arguments == ["config/x.py", f"--{name}=0.5"]
    assert result.files == {}


# --- shell, R, Julia --------------------------------------------------------------------------------------------------

WORDS = {
    "shell": ("train.sh", "#!/bin/sh\nLR=«0.1»  # rate\necho $LR\n", "LR", 0.5, "0.5"),
    "shell, small letters": ("train.sh", "LR=«0.1»\n", "lr", 0.5, "0.5"),
    "shell, exported": ("train.sh", "export LR=«0.1»\n", "LR", 0.5, "0.5"),
    "shell, quoted": ("train.sh", 'LR="«0.1»"\n', "LR", 0.5, "0.5"),
    "shell, default": ("train.sh", "LR=«${LR:-0.1}»\n", "LR", 0.5, "0.5"),
    "shell, text": ("train.sh", "OPT=«adam»\n", "OPT", "a b", "'a b'"),
    "shell, option": ("train.sh", "python train.py --lr «0.1» --x 3\n", "lr", 0.5, "0.5"),
    "no suffix": ("train", "#!/usr/bin/env bash\nLR=«0.1»\n", "LR", 0.5, "0.5"),
    "R": ("train.R", "# lambda <- 1\nlambda <- «0.5»\nprint(lambda)\n", "lambda", 0.1, "0.1"),
    "R, dotted": ("train.R", "learning.rate <- «0.5»\n", "learning.rate", 0.1, "0.1"),
    "R, equals": ("train.R", "cost = «1»\n", "cost", 0.1, "0.1"),
    "R, keyword": ("train.R", "m <- svm(y ~ x, cost = «1», gamma = 2)\n", "cost", 0.1, "0.1"),
    "R, boolean": ("train.R", "scale <- «TRUE»\n", "scale", False, "FALSE"),
    "R, text": ("train.R", 'kernel <- «"radial"»\n', "kernel", "linear", '"linear"'),
    "R, integer": ("train.R", "trees <- «100L»\n", "trees", 5, "5L"),
    "Julia": ("train.jl", "const lr = «0.1»\nprintln(lr)\n", "lr", 0.5, "0.5"),
    "Julia, keyword": ("train.jl", "train(model; η = 1, depth = «3»)\n", "depth", 5, "5"),
    "Julia, boolean": ("train.jl", "shuffle = «true»\n", "shuffle", False, "false"),
    "make": ("Makefile", "LR «?= 0.1»\nall:\n\techo $(LR)\n", "LR", 0.5, "= 0.5"),
}


@pytest.mark.parametrize("case", WORDS)
def test_a_word_of_another_language_takes_the_value(case):
    path, text, name, value, shown = WORDS[case]
    result = written({path: re.sub("[«»]", "", text)}, name, value)
    assert result.files[path].decode() == re.sub("«.*»", lambda _: shown, text)


@pytest.mark.parametrize(
    ("path", "text", "name", "before", "after"),
    [
        ("train.sh", "LR=$1\n", "LR", [], ["5"]),
        ("train.sh", "LR=${1:-0.1}\n", "LR", [], ["5"]),
        ("train.sh", "case $1 in\n  --lr) LR=$2; shift;;\nesac\n", "lr", [], ["--lr", "5"]),
        ("train.R", "args <- commandArgs(trailingOnly=TRUE)\nlr <- as.numeric(args[1])\n", "lr", [], ["5"]),
        ("train.R", "make_option(c('-l', '--lr'), default=0.1)\n", "lr", [], ["--lr=5"]),
        ("train.jl", "lr = parse(Float64, ARGS[2])\n", "lr", ["x"], ["x", "5"]),
    ],
)
def test_arguments_of_another_language(path, text, name, before, after):
    result = written({path: text}, name, 5, before)
    assert (result.arguments, result.files) == (after, {})


# --- refusals ---------------------------------------------------------------------------------------------------------


def refusal(files, name, arguments=(), value=1, **options):
    with pytest.raises(SubstitutionError) as caught:
        written(files, name, value, arguments, **options)
    return caught.value


@pytest.mark.parametrize(
    ("text", "name", "forms"),
    [
        ("a = SVC(C=1.0)\nb = LR(C=2.0)", "C", ["SVC.C", "LR.C"]),
        ("a = SVC(C=1.0)\nb = SVC(C=2.0)", "C", ["a.C", "b.C"]),
        ("f(SVC(C=1.0))\nf(SVC(C=2.0))", "C", ["train.py:1:C", "train.py:2:C"]),
        ('a = {"lr": 1}\nb = {"lr": 2}', "lr", ["a.lr", "b.lr"]),
        ("class A:\n    lr = 1\nclass B:\n    lr = 2", "lr", ["A.lr", "B.lr"]),
        ('a = {"lr": 1}\nf(lr=2)', "lr", ["a.lr", "f.lr"]),
    ],
)
def test_several_candidates_are_listed_with_the_form_that_picks_each(text, name, forms):
    error = refusal({"train.py": text}, name)
    assert "may be any of these" in str(error)
    assert "\n" not in str(error)
    assert len(error.lines) == len(forms)
    for line, form in zip(error.lines, forms, strict=True):
        assert re.match(r"train\.py:\d+ ", line)
        assert line.endswith(f"--hp={form}=…")
        assert written({"train.py": text}, form, 7).files


@pytest.mark.parametrize(
    ("text", "name", "arguments", "message"),
    [
        ("x = 1\nprint(x)", "learning_rate", ["--lr", "{learnig_rate}"], "did you mean 'learning_rate'"),
        ("lr = 1\nprint(lr)", "lr", ["{lrr}"], "{lrr} in '{lrr}' is not a hyperparameter; did you mean 'lr'"),
        ("SVC(C=1.0)", "gama", [], "read nowhere"),
        ("SVC(gamma=1.0)", "gama", [], "did you mean 'gamma'"),
        ("x = 1", "config.yml:lr", [], "there is no file 'config.yml'"),
        ("x = 1", "config.yaml:optimizer.lrr", [], "did you mean 'optimizer.lr'"),
        ("x = 1", "config.yaml:optim.lr", [], "did you mean 'optimizer.lr'"),
        ("SVC(C=1.0)", "train.py:D", [], "there is no 'D' in 'train.py'"),
        ("SVC(C=1.0)", "train.py:9:C", [], "there is no 'C' in 'train.py'"),
        ("import sys\nb = sys.argv[2]", "b", [], "give the 1 before it"),
        (HEAD + "p.add_argument('--amp', action='store_true')", "amp", [], "is a flag"),
        ("x = " + "(" * 3000 + "1" + ")" * 3000, "x", [], "nested too deeply"),
        ("x = " + "[" * 3000 + "]" * 3000, "x", [], "nested too deeply"),
        ("x = 1", "broken.yaml:lr", [], "broken.yaml:1: not YAML"),
        ("x = 1", "broken.json:lr", [], "broken.json:2: not JSON"),
        ("x = 1", "broken.toml:lr", [], "broken.toml:1: not TOML"),
        ("x = 1", "deep.json:lr", [], "there is no 'lr'"),
        ("x = 1", "deep.yaml:lr", [], "nested too deeply"),
    ],
)
def test_refusals_say_what_to_do(text, name, arguments, message):
    files = {
        "train.py": text,
        "config.yaml": "optimizer:\n  lr: 0.1\n",
        "broken.yaml": "a: [1",
        "broken.json": "{\n a}",
        "broken.toml": "a = = 1",
        "deep.json": "[" * 3000 + "]" * 3000,
        "deep.yaml": "[" * 3000 + "]" * 3000,
    }
    error = refusal(files, name, arguments, value=7)
    assert message in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("lr = 0.1\nprint(lr)", ""),
        ("lr = 0.1\nlr *= 0.9\nprint(lr)", "assigned on lines 1 and 2 of 'train.py'; its value goes to line 1"),
        ("lr = rate()\nprint(lr)", "is not assigned a constant on line 1"),
        (
            "def f():\n  lr = 1\n  return lr\ndef g():\n  lr = 2\n  return lr",
            "lines 2 and 5 of 'train.py'; its reads all",
        ),
    ],
)
def test_what_the_user_should_know_is_said(text, note):
    notices = Substitution(program({"train.py": text}), ["lr"]).notices
    assert [note in notice for notice in notices] == ([True] if note else [])


@pytest.mark.parametrize(
    ("text", "name", "fits", "unfit", "message"),
    [
        (HEAD + "p.add_argument('--n', type=int, default=3)", "n", [1, -2], [0.5, 2.0, True, "x"], "takes whole numbers"),
        (HEAD + "p.add_argument('--n', default=3)", "n", [1, 0.5, "x"], [], ""),
        (HEAD + "p.add_argument('--n', type=int, nargs='+')", "n", ["1 2"], [], ""),
        (HEAD + "p.add_argument('--k', choices=['a', 'b'])", "k", ["a", "b"], ["c", 1], "; write k=a,b"),
        (HEAD + "p.add_argument('--k', type=float, choices=[1, 2.5])", "k", [1, 1.0, 2.5], [2], "does not take 2; write k=1,2.5"),
        (HEAD + "p.add_argument('--k', type=by_name, choices=[A, B])", "k", ["a"], [], ""),
        (HEAD + "p.add_argument('--k', type=by_name, choices=['x'])", "k", ["a"], [], ""),
        ("import click\n@click.option('--n', type=click.INT)\ndef f(n): pass", "n", [1], [0.5], "takes whole numbers"),
        ("import click\n@click.option('--k', type=click.Choice(['A']))\ndef f(k): pass", "k", ["a"], ["b"], "write k=A"),
        ("import typer\ndef main(n: int = 3, lr: float = 1): pass\ntyper.run(main)", "n", [1], [0.5], "takes whole numbers"),
        ("from absl import flags\nflags.DEFINE_integer('n', 3, '')", "n", [1], [0.5], "takes whole numbers"),
        ("n = 3\nprint(n)", "n", [0.5], [], ""),
    ],
)  # fmt: skip
def test_a_value_that_the_script_would_refuse_is_refused(text, name, fits, unfit, message):
    for value in fits:
        written({"train.py": text}, name, value)
    for value in unfit:
        with pytest.raises(SubstitutionError, match=re.escape(message)):
            written({"train.py": text}, name, value)


def test_two_names_of_one_option_are_refused():
    files = {"train.py": HEAD + "p.add_argument('--learning-rate', '--lr')"}
    with pytest.raises(
        SubstitutionError, match=r"^lr and learning_rate are both train\.py:3 --learning-rate; give one"
    ):
        Substitution(program(files), ["lr", "learning_rate"])


def test_a_file_that_the_arguments_name_and_that_is_missing_is_said():
    files = {"train.py": "import yaml, sys\nprint(yaml.safe_load(open(sys.argv[2])))", "conf/base.yaml": "lr: 1\n"}
    error = refusal(files, "lr", ["--config", "conf/bse.yaml"], value=7)
    assert "there is no file 'conf/bse.yaml', which the arguments name" in str(error)


def test_an_array_in_brackets_is_the_path_of_its_file():
    substitution = Substitution(program({"train.py": ""}, ["{w}"]), ["w"], ["w"])
    assert substitution.write({"w": None}, {"w": "/tmp/w.npy"}).arguments == ["/tmp/w.npy"]


# --- what programs read -----------------------------------------------------------------------------------------------


def test_every_place_is_listed_with_an_address_that_picks_it(tmp_path):
    (tmp_path / "train.py").write_text(
        HEAD + "p.add_argument('--lr', default=0.1)\nclf = SVC(C=1.0)\nreg = Ridge(C=2.0)\ndepth = 3\nprint(depth)\n"
        "c = yaml.safe_load(open('config.yaml'))\nimport model\nos.environ['ALPHA']\n"
    )
    (tmp_path / "config.yaml").write_text("optimizer:\n  momentum: 0.9\n  betas: [0.9, 0.99]\n")
    (tmp_path / "model.py").write_text("hidden = 64\n")
    found = Places(Program.at(tmp_path, "train.py"))
    places = found.every()
    assert {place.address: (place.kind, place.line, place.value) for place in places} == {
        "lr": ("option", 3, 0.1),
        "SVC.C": ("keyword", 4, 1.0),
        "Ridge.C": ("keyword", 5, 2.0),
        "depth": ("variable", 7, 3),
        "momentum": ("file", 2, 0.9),
        "betas[0]": ("file", 3, 0.9),
        "betas[1]": ("file", 3, 0.99),
        "hidden": ("variable", 1, 64),
        "ALPHA": ("environment", 10, places[-1].value),
    }
    for place in places:
        assert found.choose(place.address).key == place.key
    assert "train.py:4 SVC(C=1.0)" in map(str, places)


def test_a_place_knows_where_its_own_value_stands():
    text = HEAD + "p.add_argument('--lr', default=0.1)\ndepth = 3\nprint(depth)\n"
    places = Places(program({"train.py": text}))
    for name, before, after in [("lr", "default=0.1", "default=0.5"), ("depth", "depth = 3", "depth = 0.5")]:
        [edit] = places.choose(name).home.edits
        assert apply_edits({"train.py": text}, [(edit, edit.write(0.5))]) == {"train.py": text.replace(before, after)}


def notebook(*cells, **metadata):
    made = [
        {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": cell} for cell in cells
    ]
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1)


@pytest.mark.parametrize("indent", [1, None])
def test_a_notebook_takes_values_in_its_cells(indent):
    magics = ["%matplotlib inline\n", "import x\n", "!ls é\n"]
    loop = ["for i in y:\n", "    %time f(alpha)\n", "SVC(C=1.0)"]
    cells = [magics, "alpha = 0.5\nn = 3", loop, "%%bash\nalpha=3"]
    text = json.dumps(json.loads(notebook(*cells)), indent=indent, ensure_ascii=False)
    for name, before, after in [("alpha", "alpha = 0.5", "alpha = 7"), ("C", "SVC(C=1.0)", "SVC(C=7)")]:
        assert written({"nb.ipynb": text}, name, 7).files["nb.ipynb"].decode() == text.replace(before, after)


def test_a_notebook_in_another_language_is_refused():
    assert "notebook in R" in str(refusal({"nb.ipynb": notebook("x <- 1", kernelspec={"language": "R"})}, "x"))


# --- words of the command ---------------------------------------------------------------------------------------------

SVM = ["-v", "5", "-c", "1", "-g", "0.1", "heart.txt"]


@pytest.mark.parametrize(
    ("arguments", "name", "value", "expected"),
    [
        (SVM, "c", 8, [*SVM[:3], "8", *SVM[4:]]),
        (SVM, "-g", 0.5, [*SVM[:5], "0.5", "heart.txt"]),
        (SVM, "arg:7", "other.txt", [*SVM[:6], "other.txt"]),
        (["-O2", "x.c"], "O", 3, ["-O3", "x.c"]),
        (["--rate=0.2"], "rate", -1, ["--rate=-1"]),
        (["-restartint=1"], "restartint", 4, ["-restartint=4"]),
        (["--rate", "-0.2"], "rate", 1, ["--rate", "1"]),
        (["bench", "OPT=-O2"], "OPT", "-O3", ["bench", "OPT=-O3"]),
        (["key.sub=4", "other.sub=5"], "key.sub", 6, ["key.sub=6", "other.sub=5"]),
        (["100", "0.5"], "arg:2", 7, ["100", "7"]),
        (["-D", "1", "-D", "2"], "arg:2", 7, ["-D", "7", "-D", "2"]),
        (["--learning-rate", "1"], "learning_rate", 7, ["--learning-rate", "7"]),
        (["--quiet", "--rate", "1"], "rate", 7, ["--quiet", "--rate", "7"]),
    ],
)
def test_a_word_of_the_command_takes_a_value(arguments, name, value, expected):
    assert written({"solver": "\x7fELF"}, name, value, arguments).arguments == expected


def test_several_words_of_the_command_take_their_values_at_once():
    given = program({"solver": ""}, [*SVM, "{x}"])
    names = ["x", "arg:7", "c", "--new", "g"]
    filled = Substitution(given, names).write({"x": "a b", "arg:7": "t", "c": 8, "--new": 3, "g": 2}).arguments
    assert filled == ["-v", "5", "-c", "8", "-g", "2", "t", "a b", "--new=3"]


def test_what_the_script_tells_of_an_option_goes_before_the_word_of_the_command():
    files = {
        "train.py": HEAD + "p.add_argument('--lr', '-l', type=int)\np.add_argument('--fast', action='store_true')\n"
    }
    places = Places(program(files, ["-l", "3", "--fast", "--other", "4"])).every()
    assert {place.address: place.kind for place in places} == {
        "lr": "option",
        "fast": "option",
        "other": "in the command",
    }


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("arg:9", 1, "arg:9: the command has 7 arguments after the program; write arg:1 for the first"),
        ("arg:x", 1, "write arg:1 for the first"),
        ("c", "-x", "a value that begins with - would be read as an option"),
    ],
)
def test_a_word_of_the_command_that_is_wrong_is_refused(name, value, message):
    assert message in str(refusal({"solver": ""}, name, SVM, value=value))
