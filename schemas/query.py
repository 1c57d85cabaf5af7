"""A small language to ask for samples: `knee_flexion_r > 110 and camera_yaw between 60 and 120`.

    query      = conjunction {"or" conjunction}
    conjunction = negation {"and" negation}
    negation   = "not" negation | "(" query ")" | comparison
    comparison = term {op term} | term ["not"] "between" term "and" term | term ["not"] "in" "(" term {"," term} ")"
    term       = name | number | "text"            op = < <= > >= == != =

Names are those of `schemas.quantities`. Beside a quantity whose values are names, a bare word is such a name:
`movement in (squat, lunge)`. A comparison with a number that a sample does not know is false, so its `not` is true.
Nothing is ever evaluated as a program; the text and its nesting are bounded.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.conditions import (
    OPERATORS,
    All,
    Bounds,
    BoundsOf,
    Compare,
    Mask,
    Not,
    Pair,
    Query,
    ValuesOf,
    as_name,
)
from schemas.errors import InputError
from schemas.quantities import resolve
from schemas.statistics import REST

__all__ = ["REST", "Bounds", "BoundsOf", "Mask", "Query", "ValuesOf", "as_name", "parse"]
MAX_CHARACTERS, _MAX_DEPTH = 2000, 30
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)(?![A-Za-z_])
    |(?P<name>[A-Za-z_]\w*(?:\.\w+)*)|(?P<text>"[^"\n]*"|'[^'\n]*')|(?P<op><=|>=|==|!=|[<>=(),+-]))""",
    re.VERBOSE | re.ASCII,
)
_MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_WORDS = {"and", "or", "not", "in", "between"}


def parse(text: str, named: Mapping[str, bool]) -> Query:
    """Reads a query.

    Args:
        text: what the user wrote.
        named: every known quantity, and whether its values are names.

    Raises:
        InputError: no query, or an unknown quantity; says where and, of quantities, lists the nearest.
    """
    if len(text) > MAX_CHARACTERS:
        raise _refused(text[:60] + "…", f"is longer than {MAX_CHARACTERS} characters")
    parser = _Parser(text, named)
    found = parser.either(0)
    if parser.at < len(parser.tokens):
        raise parser.unexpected()
    return found


def _refused(text: str, reason: str) -> InputError:
    example = "Write for example: knee_flexion > 110 and camera_yaw between 60 and 120"
    return InputError(f"query `{text}`", reason, example)


@dataclass(frozen=True, kw_only=True)
class _Term:
    kind: str
    """number, name or text."""
    text: str
    value: float = 0.0


class _Parser:
    """Reads a query by recursive descent, a method a rule."""

    def __init__(self, text: str, named: Mapping[str, bool]) -> None:
        self.text, self.named, self.at = text, named, 0
        self.tokens: list[tuple[str, str, int]] = []
        place = 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                raise _refused(text, f"has something at {text[place:].strip()[:20]!r} that is none")
            self.tokens.append((match.lastgroup, match[match.lastgroup], match.start()))
            place = match.end()

    def either(self, depth: int) -> Query:
        """Reads parts joined by `or`."""
        if depth > _MAX_DEPTH:
            raise _refused(self.text[:60], f"is nested deeper than {_MAX_DEPTH}")
        parts = [self.both(depth)]
        while self.take("or"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else _any(parts)

    def both(self, depth: int) -> Query:
        """Reads parts joined by `and`."""
        parts = [self.negation(depth)]
        while self.take("and"):
            parts.append(self.negation(depth))
        return parts[0] if len(parts) == 1 else All(parts=tuple(parts))

    def negation(self, depth: int) -> Query:
        """Reads one part, negated or in parentheses or neither."""
        odd = False
        while self.take("not"):
            odd = not odd
        if self.take("("):
            found = self.either(depth + 1)
            self.need(")")
        else:
            found = self.comparison()
        return Not(part=found) if odd else found

    def comparison(self) -> Query:
        """Reads a chain of comparisons, a range or a list of values."""
        terms = [self.term()]
        negated = self.take("not")
        if self.take("between"):
            low = self.term()
            self.need("and")
            ends = (self._pair(terms[0], ">=", low), self._pair(terms[0], "<=", self.term()))
            found: Query = All(parts=ends)
        elif self.take("in"):
            self.need("(")
            values = [self.term()]
            while self.take(","):
                values.append(self.term())
            self.need(")")
            found = _any([self._pair(terms[0], "==", value) for value in values])
        elif negated:
            raise self.unexpected()
        else:
            return self._chain(terms)
        return Not(part=found) if negated else found

    def _chain(self, terms: list[_Term]) -> Query:
        ops: list[str] = []
        while self.peek() in OPERATORS or self.peek() == "=":
            ops.append("==" if self.peek() == "=" else self.peek())
            self.at += 1
            terms.append(self.term())
        if not ops:
            raise self.unexpected()
        pairs = [self._pair(a, op, b) for a, op, b in zip(terms, ops, terms[1:], strict=False)]
        return pairs[0] if len(pairs) == 1 else All(parts=tuple(pairs))

    def _pair(self, a: _Term, op: str, b: _Term) -> Query:
        """Makes a comparison of two terms, at least one of them a quantity."""
        if self._named(a):
            return self._of_names(a, op, b)
        if self._named(b):
            return self._of_names(b, _MIRROR[op], a)
        if "text" in (a.kind, b.kind):
            number = b if a.kind == "text" else a
            raise _refused(self.text, f"compares {number.text}, a number, with a text")
        if a.kind == b.kind == "number":
            raise _refused(self.text, f"compares {a.text} with {b.text} and no quantity")
        if a.kind == b.kind == "name":
            return Pair(left=resolve(a.text, self.named), op=op, right=resolve(b.text, self.named))
        if a.kind == "number":
            a, op, b = b, _MIRROR[op], a
        return Compare(quantity=resolve(a.text, self.named), op=op, value=b.value)

    def _named(self, term: _Term) -> bool:
        if term.kind != "name":
            return False
        try:
            return self.named[resolve(term.text, self.named)]
        except InputError:
            return False

    def _of_names(self, term: _Term, op: str, value: _Term) -> Query:
        if op not in ("==", "!="):
            raise _refused(self.text, f"{term.text} has names, which have no order for `{op}`")
        name = resolve(term.text, self.named)
        return Compare(quantity=name, op=op, names=frozenset({value.text}))

    def term(self) -> _Term:
        """Reads a name, a number or a text."""
        sign = 1.0
        while self.peek() in ("-", "+"):
            sign = -sign if self.peek() == "-" else sign
            self.at += 1
        if self.at >= len(self.tokens):
            raise self.unexpected()
        kind, text, _ = self.tokens[self.at]
        if kind == "op" or text in _WORDS or (sign < 0 and kind != "number"):
            raise self.unexpected()
        self.at += 1
        if kind == "number":
            value = sign * float(text)
            if not math.isfinite(value):
                raise _refused(self.text, f"{text} is beyond all numbers")
            return _Term(kind=kind, text=f"{value:g}", value=value)
        return _Term(kind=kind, text=text[1:-1] if kind == "text" else text)

    def peek(self) -> str:
        """Returns the next token, "" at the end, and for a text nothing that is an operator or a word."""
        if self.at >= len(self.tokens):
            return ""
        kind, text, _ = self.tokens[self.at]
        return "" if kind == "text" else text

    def take(self, word: str) -> bool:
        """Passes over a token if it comes next."""
        taken = self.peek() == word
        self.at += taken
        return taken

    def need(self, word: str) -> None:
        """Passes over a token that must come next."""
        if not self.take(word):
            raise self.unexpected(f" where `{word}` is wanted")

    def unexpected(self, where: str = "") -> InputError:
        """Says what stands where something else should."""
        if self.at >= len(self.tokens):
            return _refused(self.text, f"ends too early{where}")
        return _refused(
            self.text, f"has `{self.tokens[self.at][1][:40]}`{where or ' out of place'}"
        )


def _any(parts: list[Query]) -> Query:
    """Returns what is true where any part is."""
    return Not(part=All(parts=tuple(Not(part=part) for part in parts)))
