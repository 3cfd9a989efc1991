"""Values put into a shell script so that none can break out of the place it stands in.

A script is read as Bash reads it (words, both kinds of quotes, here-documents, substitutions), and each
placeholder's value is written the way its place demands::

    --input %INPUT_SOURCE          →  --input '/data/it'"'"'s here'
    --input "%INPUT_SOURCE/raw"    →  --input "/data/\\$5/raw"
    --job-settings ' %JOB_SETTINGS '  →  …'\\''…
    cat <<EOF …                    →  ``$``, backslash and backtick escaped
    cat <<'EOF' …                  →  as it is, unless one of its lines would end the document

Some places cannot be made safe, or not without knowing more than the text: within backticks, ``$'…'``,
arithmetic and ``${…}``, after a lone ``$``, and in text that a second shell reads again (``bash -c "…"``,
``eval``, ``ssh``) when the value is more than plain letters. Such a script is refused, with its line and
what to write instead. Placeholders in comments stay as they are.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import NoReturn

from include.acquisitions.shell_words import SHELLS, CommandWords
from include.errors import InvalidInput, Problem

MAX_ARGUMENT_BYTES = 131_071
"""Linux gives one argument of a command 128 KiB, its end mark included."""

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")
_WORD = re.compile(r"[^\s;&|()<>\"'`$\\]+")
_LEADING_TABS = re.compile(r"^\t", re.MULTILINE)
_HERE = re.compile(
    r"""<<(?P<tabs>-?)[ \t]*(?P<word>(?:[^\s;&|<>()'"\\`$]|\\[^\n]|'[^'\n]*'|"[^"$`\\\n]*")+)"""
)


def fill_quoted(script: str, values: Mapping[str, str | None]) -> str:
    """*script* with each placeholder (a key of *values*, such as ``%IMAGE``) replaced by its value.

    Raises:
        InvalidInput: a value is missing (None), cannot be an argument, or stands where it would not be
            safe; the problems' item is ``command_script``.
    """
    if not any(placeholder in script for placeholder in values):
        return script
    shebang = re.match(r"#!\s*(?:\S*/env\s+)?(\S+)", script)
    reader = _Reader(script, values)
    if shebang and shebang[1].rsplit("/", 1)[-1] not in SHELLS:
        reader.refuse("placeholders are filled in shell scripts only, not in other languages")
    return reader.read_script()


class _Reader:
    """One pass over one text; ``read_…`` methods consume it and collect what comes out."""

    def __init__(self, text: str, values: Mapping[str, str | None], first_line: int = 1) -> None:
        self._text = text
        self._values = values
        self._first_line = first_line
        # Longest first: %IMAGE_VERSION is not %IMAGE with a suffix.
        names = sorted(values, key=len, reverse=True)
        self._placeholder = re.compile("|".join(re.escape(name) for name in names))
        self._at = 0
        self._out: list[str] = []
        self._here: list[tuple[str, bool, bool]] = []  # delimiter, strips tabs, quoted
        self._problems: list[Problem] = []
        self._command = CommandWords()

    def read_script(self) -> str:
        """The whole text as commands."""
        self._read_commands(nested=False)
        return self._result()

    def read_here_document(self) -> str:
        """The whole text as the body of a here-document with an unquoted delimiter."""
        while self._at < len(self._text):
            if not self._read_active(in_double_quotes=True):
                self._take()
        return self._result()

    def refuse(self, reason: str, fix: str = "") -> NoReturn:
        raise InvalidInput([*self._problems, self._problem(reason, fix)])

    def _result(self) -> str:
        if self._here:
            self.refuse("a here-document has no end")
        if self._problems:
            raise InvalidInput(self._problems)
        return "".join(self._out)

    # Commands -------------------------------------------------------------------------------------

    def _read_commands(self, *, nested: bool) -> None:
        """Up to the end of the text, or, when *nested*, past the closing parenthesis."""
        outer, self._command = self._command, CommandWords()
        at_word_start = True
        while self._at < len(self._text):
            if self._ahead("\\\n"):  # a line that goes on: no word starts or ends here
                self._take(2)
                continue
            character = self._text[self._at]
            if at_word_start and character not in " \t\n":
                word = _WORD.match(self._text, self._at)
                if nested and word and word[0] == "case":
                    self.refuse("`case` within parentheses is not understood here")
                self._command.start_word(word[0] if word else "")
            if character == "#" and at_word_start:
                self._take(self._length_to("\n"))
            elif self._ahead("<<<"):
                self._take(3)
            elif self._ahead("<<"):
                self._read_here_operator()
            elif character == "\n":
                self._take()
                self._read_here_bodies()
                self._command = CommandWords()
            elif character == "'":
                self._read_single_quotes()
            elif self._ahead("((") and at_word_start:
                self._read_arithmetic()
            elif character == "(":
                self._take()
                self._read_commands(nested=True)
            elif character == ")" and nested:
                self._take()
                self._command = outer
                return
            elif (
                not self._read_active(in_double_quotes=False) and not self._read_bare_placeholder()
            ):
                self._take()
                if character in ";&|":
                    self._command = self._command.following(is_piped=character == "|")
            at_word_start = character in " \t\n;&|()<>"
            if character in " \t":
                self._command.end_word()
        if nested:
            self.refuse("a parenthesis is not closed")
        self._command = outer

    def _read_bare_placeholder(self) -> bool:
        value = self._take_placeholder()
        if value is not None:
            self._out.append(shlex.quote(value))
        return value is not None

    # What is active in bare words, in double quotes and in here-documents -------------------------

    def _read_active(self, *, in_double_quotes: bool) -> bool:
        """Consume one active element, if there is one here."""
        character = self._text[self._at]
        if character == "\\":
            if self._placeholder.match(self._text, self._at + 1):
                self.refuse("a placeholder stands after a backslash", "take the backslash away")
            self._take(2)
        elif character == "`":
            self._take_closed(r"`(?:[^`\\]|\\.)*`", "backticks", "write $( … ) instead")
        elif character == "$":
            self._read_dollar(in_double_quotes=in_double_quotes)
        elif character == '"' and not in_double_quotes:
            self._read_double_quotes()
        elif in_double_quotes and self._placeholder.match(self._text, self._at):
            value = self._take_placeholder()
            self._out.append(re.sub(r"([\\$`])", r"\\\1", value or ""))
        else:
            return False
        return True

    def _read_dollar(self, *, in_double_quotes: bool) -> None:
        if self._placeholder.match(self._text, self._at + 1):
            self.refuse("a placeholder stands directly after '$'", "take the '$' away")
        if self._ahead("$(("):
            self._take()
            self._read_arithmetic()
        elif self._ahead("$("):
            self._take(2)
            self._read_commands(nested=True)
        elif self._ahead("${"):
            self._take(2)
            self._read_parameter(in_double_quotes=in_double_quotes)
        elif self._ahead("$'") and not in_double_quotes:
            self._take_closed(r"\$'(?:[^'\\]|\\.)*'", "$'…'", "use plain quotes")
        else:
            self._take()

    def _read_parameter(self, *, in_double_quotes: bool) -> None:
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "}":
                self._take()
                return
            if character == "'" and in_double_quotes:
                self.refuse('a single quote within "${…}" is not understood here')
            elif character == "'":
                self._read_single_quotes()
            elif character == '"':
                self._read_double_quotes()
            elif self._placeholder.match(self._text, self._at):
                self.refuse("a placeholder stands within ${…}", "assign it to a variable first")
            elif not self._read_active(in_double_quotes=in_double_quotes):
                self._take()
        self.refuse("${ is not closed")

    def _read_double_quotes(self) -> None:
        self._take()
        while self._at < len(self._text):
            if self._text[self._at] == '"':
                self._take()
                return
            if self._text[self._at] == "\n" and self._here:
                self.refuse("a quoted line end stands before a here-document")
            if (value := self._quoted_placeholder()) is not None:
                self._out.append(re.sub(r'([\\$`"])', r"\\\1", value))
            elif not self._read_active(in_double_quotes=True):
                self._take()
        self.refuse('a double quote (") is not closed')

    def _quoted_placeholder(self) -> str | None:
        if not self._placeholder.match(self._text, self._at):
            return None
        return self._take_placeholder()

    def _read_single_quotes(self) -> None:
        self._take()
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "\n" and self._here:
                self.refuse("a quoted line end stands before a here-document")
            value = self._take_placeholder()
            if value is not None:
                self._out.append(value.replace("'", "'\\''"))
                continue
            self._take()
            if character == "'":
                return
        self.refuse("a single quote (') is not closed")

    def _read_arithmetic(self) -> None:
        """From ``((`` past the parentheses that close it; a placeholder has no safe form in it."""
        depth = 0
        while self._at < len(self._text):
            character = self._text[self._at]
            if character in "'\"`\\" or self._placeholder.match(self._text, self._at):
                self.refuse(
                    "quotes and placeholders within (( … )) are not understood here",
                    "assign the placeholder to a variable first, or part nested parentheses by a space",
                )
            depth += (character == "(") - (character == ")")
            self._take()
            if depth == 0:
                return
        self.refuse("(( is not closed")

    # Here-documents -------------------------------------------------------------------------------

    def _read_here_operator(self) -> None:
        found = _HERE.match(self._text, self._at)
        if found is None or self._placeholder.search(found["word"]):
            self.refuse("the delimiter of a here-document is not understood")
        delimiter = re.sub(r"\\(.)|['\"]", r"\1", found["word"])
        is_quoted = any(mark in found["word"] for mark in "'\"\\")
        self._here.append((delimiter, bool(found["tabs"]), is_quoted))
        self._take(len(found[0]))

    def _read_here_bodies(self) -> None:
        for delimiter, strips_tabs, is_quoted in self._here:
            self._read_here_body(delimiter, strips_tabs=strips_tabs, is_quoted=is_quoted)
        self._here = []

    def _read_here_body(self, delimiter: str, *, strips_tabs: bool, is_quoted: bool) -> None:
        def ends(line: str) -> bool:
            return (line.lstrip("\t") if strips_tabs else line) == delimiter

        lines = self._text[self._at :].split("\n")
        length = next((n for n, line in enumerate(lines) if ends(line)), None)
        if length is None:
            self.refuse(f"the here-document that ends with {delimiter} has no end")
        body = "".join(f"{line}\n" for line in lines[:length])
        if not self._placeholder.search(body):
            self._take(len(body))
            return
        if not is_quoted and re.search(r"(?<!\\)(?:\\\\)*\\\n\Z", body):
            self.refuse("the last line of a here-document ends with a backslash")
        filled = self._filled_body(body, is_quoted=is_quoted)
        if any(ends(line) for line in filled.split("\n")):
            self.refuse(f"a value has the line {delimiter}, which would end its here-document")
        if strips_tabs and len(_LEADING_TABS.findall(filled)) != len(_LEADING_TABS.findall(body)):
            self.refuse("a value has a line that starts with a tab, which <<- would strip")
        self._at += len(body)
        self._out.append(filled)

    def _filled_body(self, body: str, *, is_quoted: bool) -> str:
        inner = _Reader(body, self._values, self._line())
        inner._command = self._command.fed()
        if not is_quoted:
            return inner.read_here_document()
        while inner._at < len(body):
            value = inner._take_placeholder()
            if value is None:
                inner._take()
            else:
                inner._out.append(value)
        return inner._result()

    # The text and what comes out ------------------------------------------------------------------

    def _ahead(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _length_to(self, text: str) -> int:
        end = self._text.find(text, self._at)
        return (len(self._text) if end < 0 else end) - self._at

    def _take(self, length: int = 1) -> None:
        self._out.append(self._text[self._at : self._at + length])
        self._at += length

    def _take_closed(self, pattern: str, what: str, fix: str) -> None:
        """Take something whole that no placeholder may stand in."""
        found = re.compile(pattern, re.DOTALL).match(self._text, self._at)
        if found is None:
            self.refuse(f"{what}: not closed")
        if self._placeholder.search(found[0]):
            self.refuse(f"a placeholder stands within {what}", fix)
        if self._here and "\n" in found[0]:
            self.refuse("a quoted line end stands before a here-document")
        self._take(len(found[0]))

    def _take_placeholder(self) -> str | None:
        """The value of the placeholder that stands here, checked but not yet quoted."""
        found = self._placeholder.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        value = self._values[found[0]]
        if value is None:
            self._problems.append(self._problem(f"{found[0]} has no value in this run"))
            return ""
        if "\0" in value:
            self.refuse(f"the value of {found[0]} has a NUL character, which no argument can carry")
        if len(value.encode(errors="surrogateescape")) > MAX_ARGUMENT_BYTES:
            self.refuse(f"the value of {found[0]} is longer than {MAX_ARGUMENT_BYTES} bytes")
        if self._command.is_code and not _PLAIN.fullmatch(value):
            self.refuse(
                f"{found[0]} stands in text that a second shell or an interpreter reads as code",
                "hand it over as an argument: bash -c '… \"$1\" …' _ " + found[0],
            )
        return value

    def _line(self) -> int:
        return self._first_line + self._text.count("\n", 0, self._at)

    def _problem(self, reason: str, fix: str = "") -> Problem:
        return Problem("command_script", f"line {self._line()}", reason, fix)
