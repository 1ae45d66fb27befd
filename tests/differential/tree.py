"""Queries as trees of texts and nodes, each of which knows the simpler ones that may stand in its place."""
import time

SIMPLEST = {
    "int": ["1", "0", "NULL::integer"],
    "big": ["1::bigint", "NULL::bigint"],
    "num": ["1.5", "NULL::numeric"],
    "float": ["1::double precision", "NULL::double precision"],
    "text": ["'a'", "''", "NULL::text"],
    "bool": ["true", "false", "NULL::boolean"],
    "date": ["DATE '2024-02-29'", "NULL::date"],
    "ts": ["TIMESTAMP '2024-02-29 13:45:10'", "NULL::timestamp"],
}


class Node:
    """Texts and nodes in a row."""

    def __init__(self, *parts, type=None):
        self.parts, self.type = parts, type

    def __str__(self):
        return "".join(map(str, self.parts))

    def copy(self, parts):
        """This node with other parts."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made.parts = tuple(parts)
        return made

    def descendants(self):
        """All nodes below, the higher ones first."""
        level = [part for part in self.parts if isinstance(part, Node)]
        while level:
            yield from level
            level = [part for node in level for part in node.parts if isinstance(part, Node)]

    def simpler(self):
        """What may stand in the place of this node, the simplest first."""
        return ()

    def variants(self):
        """All trees that differ from this one in one simplification, the most drastic first."""
        yield from self.simpler()
        for place, part in enumerate(self.parts):
            if isinstance(part, Node):
                for other in part.variants():
                    yield self.copy(self.parts[:place] + (other,) + self.parts[place + 1:])


class Expression(Node):
    """A value of `type`."""

    def simpler(self):
        text = str(self)
        for other in SIMPLEST.get(self.type, ()):
            if len(other) < len(text) and text not in SIMPLEST[self.type]:
                yield Node(other)
        for node in self.descendants():
            if isinstance(node, Expression) and node.type == self.type:
                yield node


class Maybe(Node):
    """What a query can do without."""

    def simpler(self):
        if self.parts:
            yield Node()


class Items(Node):
    """At least `least` nodes with `separator` between them."""

    def __init__(self, nodes, separator=", ", least=1):
        super().__init__(*nodes)
        self.separator, self.least = separator, least

    def __str__(self):
        return self.separator.join(map(str, self.parts))

    def simpler(self):
        if len(self.parts) > self.least:
            for place in range(len(self.parts)):
                yield self.copy(self.parts[:place] + self.parts[place + 1:])


class Junction(Expression):
    """Conditions with AND or OR between them, in parentheses."""

    def __init__(self, word, conditions):
        super().__init__("(", Items(conditions, f" {word} "), ")", type="bool")


class Query(Node):
    """A query; one below it may stand in its place."""

    def simpler(self):
        for node in self.descendants():
            if isinstance(node, Query):
                yield node


class Ordered(Query):
    """A query in an order in which only equal rows can change places: by `keys` first and by every output column then."""

    def __init__(self, body, keys, bounds=""):
        super().__init__(body)
        self.keys, self.bounds = keys, bounds

    def __str__(self):
        width = self.parts[0].width()
        keys = [(place, how) for place, how in self.keys if isinstance(place, str) or place <= width]
        told = {place for place, _ in keys}
        keys += [(place, "") for place in range(1, width + 1) if place not in told]
        return f"{self.parts[0]} ORDER BY {', '.join(f'{place}{how}' for place, how in keys)}{self.bounds}"

    def width(self):
        return self.parts[0].width()

    def simpler(self):
        yield self.parts[0]
        if self.bounds:
            yield Ordered(self.parts[0], self.keys)
        for place in range(len(self.keys)):
            yield Ordered(self.parts[0], self.keys[:place] + self.keys[place + 1:], self.bounds)
        yield from super().simpler()


class Select(Query):
    """SELECT: what stands before the output columns, these, and the clauses behind them."""

    def __init__(self, head, items, *clauses):
        super().__init__(head, Items(items), *clauses)

    def width(self):
        return len(self.parts[1].parts)


class Both(Query):
    """A set operation of two queries."""

    def __init__(self, left, word, right):
        super().__init__("(", left, f") {word} (", right, ")")

    def width(self):
        return self.parts[1].width()

    def simpler(self):
        yield from super().simpler()
        for place in range(self.width()):
            left, right = (without(self.parts[side], place) for side in (1, 3))
            if left and right:
                yield self.copy(("(", left, self.parts[2], right, ")"))


class Joined(Node):
    """Two relations of a FROM clause, of which one alone may do."""

    def simpler(self):
        for part in self.parts:
            if isinstance(part, (Joined, Relation)):
                yield part


class Relation(Node):
    """One relation of a FROM clause."""


def without(query, place):
    """A query without one of its output columns, None where it has no other."""
    if isinstance(query, Select):
        items = query.parts[1]
        if len(items.parts) == 1:
            return None
        fewer = items.copy(items.parts[:place] + items.parts[place + 1:])
        return query.copy((query.parts[0], fewer) + query.parts[2:])
    if isinstance(query, Both):
        left, right = without(query.parts[1], place), without(query.parts[3], place)
        return query.copy(("(", left, query.parts[2], right, ")")) if left and right else None
    if isinstance(query, Ordered):
        body = without(query.parts[0], place)
        return Ordered(body, [], query.bounds) if body else None
    return None


def reduced(tree, holds, tries=300, seconds=40):
    """The simplest tree found for which `holds`, within so many questions and seconds."""
    asked, end = set(), time.monotonic() + seconds
    progress = True
    while progress:
        progress = False
        for other in tree.variants():
            text = str(other)
            if len(text) >= len(str(tree)) or text in asked:
                continue
            asked.add(text)
            tries -= 1
            if tries < 0 or time.monotonic() > end:
                return tree
            if holds(other):
                tree, progress = other, True
                break
    return tree
