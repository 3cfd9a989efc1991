"""Which words of a shell command are code that is read once more: ``bash -c "…"``, ``eval``, ``ssh``."""

from __future__ import annotations

import re

SHELLS = frozenset({"sh", "bash", "dash", "ksh"})
INTERPRETERS = SHELLS | {"zsh", "su", "python", "python3", "perl", "ruby", "node", "ssh", "sbatch"}
READ_AGAIN = frozenset({"eval", "ssh"})
"""Commands that hand all their arguments to a shell as text."""

_CODE_OPTION = re.compile(r"-\w*[ce]")


class CommandWords:
    """Whether what stands here is read again as code: after ``bash -c``, ``eval``, ``ssh``."""

    def __init__(self) -> None:
        self.is_code = False
        self._is_interpreter = False
        self._code_is_next = False
        self._is_sticky = False
        self._feeds_interpreter = False

    def start_word(self, word: str) -> None:
        """A word starts with the bare text *word* (``""`` when with quotes or a substitution)."""
        name = word.rsplit("/", 1)[-1]
        self._feeds_interpreter |= name in INTERPRETERS
        if self._is_sticky:
            return
        if self._code_is_next:
            self.is_code, self._code_is_next = True, False
        elif name in READ_AGAIN or word.startswith("--wrap"):
            self.is_code = self._is_sticky = True
        elif name in INTERPRETERS:
            self._is_interpreter = True
        elif self._is_interpreter and _CODE_OPTION.fullmatch(word):
            self._code_is_next = True
        elif not word.startswith("-"):
            self._is_interpreter = False

    def end_word(self) -> None:
        """White space: the code word of ``bash -c`` is over."""
        if not self._is_sticky:
            self.is_code = False

    def following(self, *, is_piped: bool) -> CommandWords:
        """The next command of the same line; a document piped into an interpreter is still code."""
        words = CommandWords()
        words._feeds_interpreter = self._feeds_interpreter and is_piped
        return words

    def fed(self) -> CommandWords:
        """The same question for the here-document of this line."""
        words = CommandWords()
        words.is_code = words._is_sticky = self._feeds_interpreter
        return words
