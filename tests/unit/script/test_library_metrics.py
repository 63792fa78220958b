"""Metrics that no line of a script names: those of libraries, and numbers that are printed without a word."""

import pytest

from studio.host import create_host
from studio.script.library_metrics import library_metrics
from studio.script.printed import bare_numbers
from studio.script.program import Program
from studio.search.inspection import inspect_script


def program(text):
    return Program("train.py", read={"train.py": text.encode()}.get)


XGB = "import xgboost as xgb\n"
LGB = "import lightgbm as lgb\n"
KERAS = "import keras\nm.compile('sgd', 'mse', metrics=['mae'])\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (XGB + "xgb.train({'eta': 1}, d, 3, [(d, 'train'), (v, 'val')])", ["val-rmse"]),
        (XGB + "w = [(v, 'eval')]\nxgb.train({'objective': 'binary:logistic'}, d, 3, evals=w)", ["eval-logloss"]),
        (XGB + "p = {'eval_metric': ['auc', 'error']}\nxgb.train(p, d, evals=[(v, 'v')])", ["v-error"]),
        (XGB + "xgb.train({}, d, 3, evals=[(v, 'v')], verbose_eval=False)", []),
        (XGB + "xgb.train({}, d, 3)", []),
        (XGB + "r = xgb.XGBRegressor()\nr.fit(x, y, eval_set=[(x, y), (a, b)])", ["validation_1-rmse"]),
        (XGB + "r = xgb.XGBClassifier(eval_metric='auc')\nr.fit(x, y, eval_set=e, verbose=0)", []),
        (LGB + "lgb.train({'metric': 'l1'}, d, valid_sets=[v], callbacks=[lgb.log_evaluation(1)])", ["valid_0's l1"]),
        (
            LGB
            + "lgb.train({'objective': 'binary'}, d, valid_sets=[d, v], valid_names=['t', 'v'], callbacks=[lgb.early_stopping(3)])",
            ["v's binary_logloss"],
        ),
        (LGB + "lgb.train({}, d, valid_sets=[v])", []),
        (KERAS + "m.fit(x, y, epochs=3)", ["loss", "mae"]),
        (KERAS + "m.fit(x, y, epochs=3, validation_split=0.2)", ["val_loss", "val_mae"]),
        (KERAS + "m.fit(x, y, epochs=3, verbose=0)", []),
        (KERAS + "m.fit(x, y, epochs=3, verbose=0, callbacks=[keras.callbacks.CSVLogger('a')])", ["loss", "mae"]),
        ("from transformers import Trainer\nTrainer(m, a, train_dataset=t, eval_dataset=e)", ["eval_loss"]),
        ("from transformers import Trainer\nTrainer(m, a, train_dataset=t)", ["loss"]),
        ("from catboost import CatBoost\nm.fit(x, y, eval_set=e)", ["bestTest"]),
        ("from sklearn.metrics import classification_report\nprint(classification_report(y, p))", ["accuracy"]),
        ("from sklearn import metrics\nr = metrics.classification_report(y, p)\nprint(r)", ["accuracy"]),
        ("from sklearn import metrics\nr = metrics.classification_report(y, p)", []),
        ("from ultralytics import YOLO\nYOLO('n').train(data='d')", ["metrics/mAP50-95(B)"]),
        ("m.fit(x, y, epochs=3, eval_set=e)", []),
    ],
)
def test_what_a_library_reports(text, names):
    assert list(library_metrics(program(text))) == names


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("print(loss.item())", {r"^(\S+)$": "loss.item"}),
        ("print(epoch, loss.item())", {r"^\S+ (\S+)": "loss.item"}),
        ("print(f'{epoch}', loss)", {r"^\S+ (\S+)": "loss"}),
        ("print(f'{epoch:3d}, {loss:.4f}')", {r"^\S+, (\S+)": "loss"}),
        ("print(clf.score(X, y))", {r"^(\S+)$": "clf.score"}),
        ("print(round(accuracy_score(y, p), 3))", {r"^(\S+)$": "y.accuracy_score.round"}),
        ("print(clf)\nprint(clf.score(X, y))", {r"^(\S+)$": "clf clf.score"}),
        ("print('loss', loss)", {}),
        ("print()", {}),
        ("print(epoch)", {}),
    ],
)
def test_numbers_without_a_word(text, patterns):
    assert bare_numbers(program(text)) == patterns


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("C = 1.0\nprint(model(C).score(x, y))", r"regex:^(\S+)$:max"),
        ("lr = 0.1\nw = lr\nprint('w', w)\nprint(epoch, loss.item())", r"regex:^\S+ (\S+):min"),
        ("lr = 0.1\nprint('val_loss', lr)\nprint(accuracy)", "val_loss:min"),
        ("lr = 0.1\nout.writerow(['epoch', 'val_mse'])\nOUT = 'results'\nprint('done, see', OUT)", "val_mse:min"),
        ("lr = 0.1\nw = csv.DictWriter(file, fieldnames=['step', 'accuracy'])", "accuracy:max"),
        ("lr = 0.1\nfile.write('epoch,val_loss\\n')", "val_loss:min"),
        ("C = 1\nprint('scores:', scores)\nprint('Mean AUC: %.4f' % scores.mean())", "Mean_AUC:max"),
        ("alpha = 0.5\nl1_ratio = 0.5\nprint(f'alpha={alpha} l1_ratio={l1_ratio}')\nprint('RMSE:', alpha)", "RMSE:min"),
    ],
)
def test_the_metric_of_the_command(script, text, best):
    script("train.py", text)
    assert inspect_script("train.py", [], create_host()).options["metric"] == best


def test_without_a_metric_the_next_command_is_to_run_it_once(script, command):
    script("train.py", "lr = 0.5\nopen('m.csv', 'w').write('loss' + chr(10) + str(lr))\n")
    shown = command("inspect", "train.py").out.splitlines()
    assert shown[-1] == "studio inspect --run train.py"
    assert command("inspect", "--run", "train.py").out.splitlines()[-1] == (
        "studio run --optimizer=auto --metric=loss:min --hp=lr=0.05:5:l train.py"
    )
