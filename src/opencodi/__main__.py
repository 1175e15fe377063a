"""``python -m opencodi``, and what the command ``opencodi`` runs."""

import gc


def run() -> None:
    """Run the command line as a process of its own, and leave."""
    from opencodi.cli import main
    from opencodi.cli.edge import flush, prepare_streams

    prepare_streams()
    try:
        main()
    finally:
        flush()
        # What is left dies with the process: the last collections, a quarter of the time that imports take, find nothing to do.
        gc.freeze()


if __name__ == "__main__":
    run()
