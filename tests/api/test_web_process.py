"""The web process never loads what computes: it reads the models' names from their registry."""

from __future__ import annotations

import subprocess
import sys


def test_the_web_process_loads_no_models() -> None:
    code = (
        "import sys, api.app, api.http.services; "
        "heavy = {'torch', 'sklearn', 'scipy', 'numpy', 'cyvcf2', 'fhir'}; "
        "computing = {'analytics.run', 'analytics.evaluate', 'analytics.models.pipeline'}; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & heavy "
        "| computing & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
