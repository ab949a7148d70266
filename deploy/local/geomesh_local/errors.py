"""What stops the stack, in words for the person who typed the command."""


class StackError(Exception):
    """The stack cannot go on; the text says why and what to do."""
