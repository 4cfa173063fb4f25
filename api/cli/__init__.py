"""The command line: commands use the API or local files; slow imports happen only in the command
itself.

It does not know rules or pages.

Exit codes: 0 ok, 1 the answer to a question was no, 2 usage, 3 refused by policy, 4 not found, 5
not authorised, 6 ledger, bucket or broker unavailable, 7 verification failed, 70 internal, 130
interrupted; of `verify` also 8 (something was not checked) and 9 (anchored in part).
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run one command and exit with its code; a failure is one sentence and what to do next, never
    a trace. With --json it is one JSON object on standard error (api.cli.failures).
    """
    from api.cli.root import app

    as_json = "--json" in sys.argv[1:]
    try:
        # In standalone mode the parser's own errors are printed for people.
        code = app(prog_name="volens", standalone_mode=not as_json) or 0
    except Exception as error:  # every error has its exit code
        from api.cli.failures import report

        sys.exit(report(error, as_json))
    if code:
        from api.cli.failures import report_end

        report_end(code)
    sys.exit(code)
