"""The ways a run ends badly that are not winnow's fault. Messages are one sentence each."""


class BadInput(Exception):
    """What the user gave cannot be used: a config, a file, a query. The command exits with 2."""


class StageFailed(Exception):
    """A stage or a gate failed on good input. The command exits with 1."""


class Held(StageFailed):
    """Gates keep a release from readers."""


class Cancelled(Exception):
    """Somebody stopped a run, by Ctrl-C or a signal. The command exits with 130."""
