"""Queries of one engine whose answers must agree: NoREC, and TLP over rows, DISTINCT, aggregates, groups and HAVING."""
from expressions import AGGREGATES
from generate import COMMON, Generator
from tree import Expression, Items, Node

KINDS = ["norec", "tlp rows", "tlp rows", "tlp distinct", "tlp aggregate", "tlp group", "tlp having"]
# An aggregate, and what makes the one of everything out of those of the parts.
PARTS = [("count(*)", "sum"), ("count({})", "sum"), ("sum({})", "sum"), ("min({})", "min"), ("max({})", "max"),
         ("bool_and({})", "bool_and"), ("bool_or({})", "bool_or")]
TYPES = {"sum({})": ["int", "num", "float"], "bool_and({})": ["bool"], "bool_or({})": ["bool"],
         "min({})": ["int", "num", "float", "text", "date", "ts"], "max({})": ["int", "num", "float", "text", "date", "ts"],
         "count({})": COMMON}


class Law(Node):
    """Two queries that must have the same rows, made of the parts of a tree."""

    def __str__(self):
        return ";\n".join(self.queries())

    def queries(self):
        return getattr(self, self.kind.replace(" ", "_"))(*self.parts)

    def norec(self, source, condition):
        return (f"SELECT count(*) FROM {source} WHERE {condition}",
                f"SELECT coalesce(sum(CASE WHEN {condition} IS TRUE THEN 1 ELSE 0 END), 0) FROM {source}")

    def tlp_rows(self, source, condition, items):
        return (f"SELECT {items} FROM {source}",
                " UNION ALL ".join(f"SELECT {items} FROM {source} WHERE {test}" for test in thirds(condition)))

    def tlp_distinct(self, source, condition, items):
        return (f"SELECT DISTINCT {items} FROM {source}",
                " UNION ".join(f"SELECT DISTINCT {items} FROM {source} WHERE {test}" for test in thirds(condition)))

    def tlp_aggregate(self, source, condition, *parts):
        aggregate, whole = Node(*parts), self.whole
        union = " UNION ALL ".join(f"SELECT {aggregate} AS a FROM {source} WHERE {test}" for test in thirds(condition))
        return f"SELECT {aggregate} AS a FROM {source}", f"SELECT {whole}(a) FROM ({union}) AS parts"

    def tlp_group(self, source, condition, key, *parts):
        aggregate = Node(*parts)
        union = " UNION ALL ".join(f"SELECT {key} AS k, {aggregate} AS a FROM {source} WHERE {test} GROUP BY {key}"
                                   for test in thirds(condition))
        return (f"SELECT {key}, {aggregate} FROM {source} GROUP BY {key}", f"SELECT k, {self.whole}(a) FROM ({union}) AS parts GROUP BY k")

    def tlp_having(self, source, condition, key, *parts):
        aggregate = Node(*parts)
        grouped = f"SELECT {key} AS k, {aggregate} AS a FROM {source} GROUP BY {key}"
        return grouped, " UNION ALL ".join(f"{grouped} HAVING {test}" for test in thirds(condition))


def thirds(condition):
    return f"{condition}", f"NOT {condition}", f"{condition} IS NULL"


def law(seed):
    """A law of a random kind."""
    gen = Generator(seed)
    kind = gen.draw.choice(KINDS)
    tree, scope = gen.source(1)
    condition = Expression("(", gen.condition(scope, 2), ")", type="bool")
    aggregate, whole = gen.draw.choice(PARTS)
    inside = gen.expression(gen.draw.choice(TYPES.get(aggregate, COMMON)), scope, 1)
    pieces = aggregate.partition("{}")
    pieces = (pieces[0], inside, pieces[2]) if pieces[1] else (aggregate,)
    parts = [tree, condition]
    if kind in ("tlp rows", "tlp distinct"):
        parts.append(Items([gen.item(gen.expression(gen.draw.choice(COMMON), scope, gen.draw.choice([0, 1, 1])), n) for n in (1, 2, 3)]))
    elif kind != "norec":
        columns = [(type, name) for type in ("text", "int", "date", "bool", "float") for name in scope.columns(type, outer=False)]
        if kind != "tlp aggregate" and columns:
            type, name = gen.draw.choice(columns)
            parts.append(Expression(name, type=type))
            if kind == "tlp having":
                inner = gen.with_templates(scope, AGGREGATES, {type: [Expression(name, type=type)]})
                parts[1] = Expression("(", gen.condition(inner, 1), ")", type="bool")
        else:
            kind = "tlp aggregate"
        parts += pieces
    made = Law(*parts)
    made.kind, made.whole = kind, whole
    return made
