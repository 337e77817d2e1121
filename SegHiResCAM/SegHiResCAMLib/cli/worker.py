"""The other end of `--on`: started by ssh, spoken to by a program, of no use to people."""

from __future__ import annotations

from SegHiResCAMLib.cli.application import app


@app.command(hidden=True)
def worker() -> None:
    """Compute for another computer: requests on standard input, answers on standard output; started by `--on` over ssh."""
    from SegHiResCAMLib.worker.server import serve_elsewhere

    serve_elsewhere()
