"""The web process never loads a model."""

from __future__ import annotations

import subprocess
import sys


def test_the_web_process_loads_no_models() -> None:
    code = (
        "import sys, api.app, api.http.services; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'torch', 'sklearn', 'scipy', 'numpy', 'cyvcf2', 'fhir', 'analytics'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
