import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analytics.catalogue import COST, IN_FULL, MODELS, SHOWN
from analytics.clusterings import REGISTERED as CLUSTERINGS
from analytics.code import PACKAGE, code_hash
from analytics.explanations import REGISTERED as EXPLANATIONS

ROOT = PACKAGE.parent
# All that a new model needs.
PLANTED = """from analytics.models.registry import Blueprint, Model, register

LOADED = []


def build(blueprint: Blueprint) -> object:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB()


def load() -> None:
    LOADED.append("late")


register(
    Model(
        name="planted",
        shown="Planted",
        in_full="planted model",
        cost=2,
        calibrated=False,
        build=build,
        load=load,
    )
)
"""
REGISTERED = (
    'register(Model(name="{0}", shown="", in_full="", cost=1, calibrated=True, build=str))\n'
)
IMPORTED = "from analytics.models.registry import Model, register\n"
# All that a new explanation needs.
PLANTED_EXPLANATION = """from analytics.explanations.registry import AUC, AUC_LOSS, GROUPS, Explanation, register


def explain(unseen):
    import numpy as np

    return np.full((len(unseen.test), int(unseen.parts.max()) + 1), 0.25)


register(
    Explanation(
        name="a-quarter",
        shown="a quarter",
        says="Always a quarter.",
        of=GROUPS,
        scale=AUC,
        background="nothing",
        summary=AUC_LOSS,
        explain=explain,
    )
)
"""
# All that a new clustering needs.
PLANTED_CLUSTERING = """from analytics.clusterings.registry import Clustering, register


def divide(x, clusters, seed):
    import numpy as np

    return np.arange(len(x)) % clusters


register(Clustering(name="by-turns", shown="by turns", divide=divide))
"""
# What is written from the names, the parameters, a run of two models, and what is shown.
FOLLOWED = """
import json
from pathlib import Path
import model_lists
import numpy as np
from analytics.catalogue import CALIBRATED, COST, IN_FULL, MODELS
from analytics.clusterings import REGISTERED as CLUSTERINGS
from analytics.explanations import REGISTERED as EXPLANATIONS
schema = Path("analytics/params-schema.json")
schema.write_text(model_lists.in_schema(schema.read_text(), MODELS, EXPLANATIONS, CLUSTERINGS))
from analytics import prediction
from analytics.models import planted, pipeline
from analytics.params import complete, parse_params
from api.demo import report
from api.pages import labels
from api.worker.known_sentences import reachable
pipeline.warm_up()
outcome = {"kind": "distant-metastasis", "horizon_days": 1825}
asked = {"outcome": outcome, "models": dict.fromkeys(("planted", "forest"), ["clinical"])}
asked |= {"explain": ["a-quarter"], "primary": "planted"}
params = parse_params(complete(asked | {"permutations": 19, "bootstraps": 0, "folds": 2, "repeats": 2}))
y = np.arange(40) % 2
x = np.random.default_rng(1).normal(size=(40, 2)) + y[:, None]
steps = []
feature_sets = prediction.FeatureSets(np.empty((40, 0)), x, (), clinical_names=("a", "b"))
rows = prediction.evaluate_rows(y, feature_sets, params, "cpu", lambda *step: steps.append(step))
print(json.dumps({
    "models": MODELS,
    "cost": COST["planted"],
    "calibrated": CALIBRATED["planted"],
    "shown": labels.step("evaluate:planted/clinical"),
    "in_full": report.IN_FULL["planted"],
    "listed": list(json.loads(schema.read_text())["$defs"]["evaluate"]["properties"]["models"]["properties"]),
    "explanations": json.loads(schema.read_text())["$defs"]["evaluate"]["properties"]["explain"]["items"]["enum"],
    "explained": [float(value) for row in rows for one in row.explained for value in one.importance],
    "clusterings": json.loads(schema.read_text())["$defs"]["clusters"]["properties"]["method"]["enum"],
    "method": parse_params(complete({"analysis": "clusters", "outcome": outcome, "method": "by-turns"})).method,
    "divided": CLUSTERINGS["by-turns"].divide(x, 3, 1).tolist()[:4],
    "method_shown": labels.parameter_value("by-turns"),
    "box": labels.parameter_value("a-quarter"),
    "rows": [row.name for row in rows],
    "first": max(part for step, part in steps if step.endswith("forest/clinical")),
    "loaded": planted.LOADED,
    "sentences": Path(planted.__file__) in reachable(Path(prediction.__file__)),
}))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package, in a folder of its own."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PACKAGE, tmp_path / "analytics", ignore=ignored))


def start(copy: Path, program: str) -> subprocess.CompletedProcess[str]:
    """The program with the copy in place of the package."""
    paths = [str(copy.parent), str(ROOT), str(ROOT / "docs")]
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{program}"],
        cwd=copy.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_one_file_adds_a_model_an_explanation_or_a_clustering(copy: Path) -> None:
    """They are in the names, the schema as it is written, the progress, the pages and the report."""
    (copy / "models" / "planted.py").write_text(PLANTED)
    (copy / "explanations" / "a_quarter.py").write_text(PLANTED_EXPLANATION)
    (copy / "clusterings" / "by_turns.py").write_text(PLANTED_CLUSTERING)
    assert code_hash(copy) != code_hash()
    done = start(copy, FOLLOWED)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    names = sorted((*MODELS, "planted"))
    assert answer == {
        "models": names,
        "cost": 2,
        "calibrated": False,
        "shown": "testing the model: Planted on clinical data",
        "in_full": "planted model",
        "listed": names,
        "explanations": sorted((*EXPLANATIONS, "a-quarter")),
        "explained": [0.25, 0.25],
        "clusterings": sorted((*CLUSTERINGS, "by-turns")),
        "method": "by-turns",
        "divided": [0, 1, 2, 0],
        "method_shown": "by turns",
        "box": "a quarter",
        "rows": ["forest/clinical", "planted/clinical"],
        "first": COST["forest"] / (COST["forest"] + 2),
        "loaded": ["late"],
        "sentences": True,
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\n", "the module analytics.models.planted registers no model of its name"),
        (IMPORTED + 2 * REGISTERED.format("planted"), "the model planted is registered twice"),
        (IMPORTED + REGISTERED.format("forest"), "the model forest is registered twice"),
        (
            IMPORTED + REGISTERED.format("planted") + REGISTERED.format("other"),
            "the model other is not registered by a module of its name",
        ),
        (
            IMPORTED + REGISTERED.format("other"),
            "the module analytics.models.planted registers no model of its name",
        ),
    ],
    ids=["nothing", "twice", "a name that is taken", "two models", "another name"],
)
def test_a_module_that_does_not_register_one_model_is_refused(
    copy: Path, text: str, sentence: str
) -> None:
    (copy / "models" / "planted.py").write_text(text)
    done = start(copy, "import analytics.catalogue")
    assert done.stderr.splitlines()[-1] == f"analytics.errors.CatalogueError: {sentence}"


def test_byte_code_without_source_is_refused(copy: Path) -> None:
    """It would compute, and is not in the code hash."""
    source = copy / "models" / "planted.py"
    source.write_text(PLANTED)
    compiled = f"import py_compile; py_compile.compile({str(source)!r}, {str(source) + 'c'!r})"
    assert start(copy, compiled).returncode == 0
    source.unlink()
    assert code_hash(copy) == code_hash()
    done = start(copy, "import analytics.catalogue")
    assert "CatalogueError: the module analytics.models.planted has no source" in done.stderr


def test_names_are_read_without_any_library() -> None:
    program = (
        "import sys, analytics.catalogue, api.pages.labels; "
        "print({'numpy', 'scipy', 'sklearn', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_names_are_sorted_and_each_model_has_all_it_needs() -> None:
    assert list(MODELS) == sorted(MODELS)
    assert min(COST.values()) == 1
    for model in MODELS:
        assert SHOWN[model]
        assert IN_FULL[model]
