"""Starts a worker on the engine that the settings name: `python -m api.worker.start`."""

from __future__ import annotations

import sys

from api.operate.settings import LOCAL, Settings


def main(engine: str = "") -> int:
    """Work until SIGTERM; the exit code. `engine`: instead of the setting."""
    settings = Settings(engine=engine) if engine else Settings()
    if settings.engine == LOCAL:
        from api.worker.supervisor import main as work

        return work(settings)
    from api.worker.ray_engine import main as schedule

    return schedule(settings)


if __name__ == "__main__":
    sys.exit(main())
