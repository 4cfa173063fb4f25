"""Long fuzzing campaign over the OpenAPI document, seeded by the day: `python -m pytest -s
tests/api/soak_schema.py`.
"""

from __future__ import annotations

import time

import pytest
from api_schema import campaign


@pytest.mark.timeout(3600)
def test_the_long_campaign(deployment, tmp_path) -> None:
    campaign(deployment, tmp_path, 200, int(time.time()) // 86_400)
