"""The one exception that means: the person who started the sandbox has to change something."""


class UsageMistake(Exception):
    """A bad argument, file or rule, told in one sentence: what, where, what to do."""
