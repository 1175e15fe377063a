"""``python -m opencodi``, and what the command ``opencodi`` runs."""

import gc
import sys


def run() -> None:
    """Run the command line as a process of its own, and leave."""
    try:
        from opencodi.cli import main
        from opencodi.cli.edge import flush, prepare_streams

        prepare_streams()
        try:
            main()
        finally:
            flush()
    except KeyboardInterrupt:  # before or after main, which answers by itself
        print("stopped", file=sys.stderr)
        sys.exit(130)
    finally:
        # What is left goes with the process. The last collections, a quarter of what the imports took, then find nothing to do.
        gc.freeze()


if __name__ == "__main__":
    run()
