"""Pull the plug: ``python -m tests.chaos [--seconds N] [--seed N]``.

Every scenario is killed at every point that it reaches, the most telling points first, as long as the time allows; then
the state machine runs. Prints one table; the exit code is 1 when anything was found.
"""

from tests.chaos import skipping

skipping.install()  # before anything takes a clock

from tests.chaos.command import main  # noqa: E402

raise SystemExit(main())
