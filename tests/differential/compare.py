"""Whether two answers are the same, and what is known to differ."""
import collections
import decimal
import math
import re

DIGITS = 1e-9
# What may differ: a name, the reason, and a test of the query, the kind of difference and both answers.
KNOWN = [
    ("quotient digits", "CHANGELOG: quotients and averages of exact numbers have 16 digits behind the point",
     lambda sql, kind, ours, theirs, third: kind == "rows" and quotients(sql) and same_rows(ours.rows, theirs.rows, False, 1e-13)),
    ("last digits of floats", "rows whose floats are the same but for rounding stand in either order",
     lambda sql, kind, ours, theirs, third: kind == "order" and same_floats(ours.rows, theirs.rows)),
    ("deviations are floats", "CHANGELOG: stddev and variance of exact numbers are floats, as DuckDB's are",
     lambda sql, kind, ours, theirs, third: kind == "rows" and re.search(r"stddev|variance|var_", sql) and not third.error
     and same_rows(ours.rows, third.rows, False)),
    ("digits of VALUES", "all numbers of a column have the same digits behind the point, also as texts",
     lambda sql, kind, ours, theirs, third: kind == "rows" and "VALUES" in sql
     and same_rows([shortened(row) for row in ours.rows], [shortened(row) for row in theirs.rows], False)),
    ("HAVING over sets of keys", "before 18, PostgreSQL asks HAVING for the value of a computed key in sets without it",
     lambda sql, kind, ours, theirs, third: kind == "rows" and "HAVING" in sql and re.search(r"GROUPING SETS|ROLLUP|CUBE", sql)
     and not third.error and same_rows(ours.rows, third.rows, False)),
    ("two aggregates in a row", "a row with two of them IN a subquery is refused, and a way out is told",
     lambda sql, kind, ours, theirs, third: kind == "refused" and "a row with two aggregates" in ours.error[1]),
    ("whole numbers are bigint", "CHANGELOG: whole numbers that are written out are BIGINT: to_hex has 16 digits",
     lambda sql, kind, ours, theirs, third: kind == "rows" and "to_hex" in sql
     and same_rows([narrowed(row) for row in ours.rows], [narrowed(row) for row in theirs.rows], False)),
]


def same_floats(ours, theirs):
    """Whether the floats of two answers, of which there are some, are the same row by row."""
    pairs = [(a, b) for one, two in zip(ours, theirs) for a, b in zip(one, two) if isinstance(a, float)]
    return bool(pairs) and all(same_value(a, b) for a, b in pairs)


def shortened(row):
    """A row without the zeros that numbers in its texts end with."""
    return tuple(re.sub(r"(\.\d*?)0+(?!\d)", r"\1", value) if isinstance(value, str) else value for value in row)


def narrowed(row):
    """A row whose texts have the lower half of the digits of a negative number."""
    return tuple(re.sub(r"f{8}([0-9a-f]{8})", r"\1", value) if isinstance(value, str) else value for value in row)


def quotients(sql):
    """Whether a query divides or averages."""
    return re.search(r" / |avg\(|stddev|var|%|\bmod\(", sql) is not None


def same_value(one, two, exact=0.0):
    """Equal; floats within DIGITS of each other, exact numbers within `exact`."""
    if one == two:
        return True
    if isinstance(one, float) or isinstance(two, float):
        if not all(isinstance(value, (int, float, decimal.Decimal)) for value in (one, two)):
            return False
        return math.isclose(float(one), float(two), rel_tol=DIGITS, abs_tol=DIGITS)
    if exact and isinstance(one, (int, decimal.Decimal)) and isinstance(two, (int, decimal.Decimal)):
        return math.isclose(one, two, rel_tol=exact, abs_tol=exact)
    if isinstance(one, tuple) and isinstance(two, tuple) and len(one) == len(two):
        return all(same_value(a, b, exact) for a, b in zip(one, two))
    return False


def same_row(one, two, exact):
    return len(one) == len(two) and all(same_value(a, b, exact) for a, b in zip(one, two))


def firm(value):
    """A value that must be equal, None for one that may differ in its last digits."""
    return None if isinstance(value, (float, tuple, int, decimal.Decimal)) else value


def same_rows(ours, theirs, ordered, exact=0.0):
    """The same rows, in the same order where `ordered`."""
    if len(ours) != len(theirs):
        return False
    if ordered:
        return all(same_row(a, b, exact) for a, b in zip(ours, theirs))
    rest = collections.Counter(ours)
    rest.subtract(theirs)
    left = [row for row, count in rest.items() for _ in range(count)]
    right = [row for row, count in rest.items() for _ in range(-count)]
    return near(left, right, exact)


def near(left, right, exact):
    """Whether every row of `left` has a row of its own in `right` that is the same but for rounding."""
    buckets = collections.defaultdict(list)
    for row in right:
        buckets[tuple(map(firm, row))].append(row)
    for row in left:
        bucket = buckets[tuple(map(firm, row))]
        found = next((place for place, other in enumerate(bucket) if same_row(row, other, exact)), None)
        if found is None:
            return False
        bucket.pop(found)
    return True


def difference(ours, theirs, ordered):
    """`refused`, `rows`, `order`, `types` or `names`; None for none. PostgreSQL has answered."""
    if ours.error:
        return "refused"
    if not same_rows(ours.rows, theirs.rows, False):
        return "rows"
    if ordered and not same_rows(ours.rows, theirs.rows, True):
        return "order"
    if base_types(ours) != base_types(theirs):
        return "types"
    return "names" if ours.names != theirs.names else None


def base_types(answer):
    return [re.sub(r"\(.*\)", "", type) for type in answer.types]


def described(kind, ours, theirs):
    """The first type or name that differs, as ours and PostgreSQL's."""
    pairs = zip(base_types(ours), base_types(theirs)) if kind == "types" else zip(ours.names, theirs.names)
    return next(f"{one} instead of {two}" for one, two in pairs if one != two)


def known(sql, kind, ours, theirs, third):
    """The name of a known deviation that this is; `third` is the answer of DuckDB."""
    return next((name for name, _, test in KNOWN if test(sql, kind, ours, theirs, third)), None)


def shape(text):
    """A query or a message without its names and constants, for telling kinds of differences apart."""
    if text.startswith(("syntax error", "Physical plan does not support logical expression")):
        return text[:65]
    text = re.sub(r"'(?:[^']|'')*'", "'s'", text)
    text = re.sub(r"\b[a-z]\d+(\.\w+)?\b", "x", text)
    text = re.sub(r"\b(sales|products|stores|calendar|shelves|nothing)\b", "t", text)
    return re.sub(r"\d+(\.\d+)?", "n", text)
