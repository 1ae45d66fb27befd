"""Random queries that PostgreSQL answers, from a seed."""
import collections
import random
import re

import schema
from expressions import AGGREGATES, CONSTANTS, DRAWERS, VALUES, WINDOWS
from tree import Both, Expression, Items, Joined, Junction, Maybe, Node, Ordered, Relation, Select

TYPES = ["int", "big", "num", "float", "text", "bool", "date", "ts"]
COMMON = ["int", "int", "num", "float", "text", "text", "bool", "date", "ts", "big"]
# The most pairs of rows that a join or a correlated subquery looks at.
PAIRS = 300_000
# `columns` by name, an estimate of the rows, and the columns that tell rows apart.
Table = collections.namedtuple("Table", "alias columns rows order")
Made = collections.namedtuple("Made", "tree types rows")
# Types whose numbers become those of a type in a branch beside it.
NARROWER = {"big": ["int"], "num": ["int", "big"], "float": ["int", "num"]}
PLACE = re.compile(r"\{(\w+)\}")


class Scope:
    """What an expression may name: columns of `tables` and of `outer` ones, or nothing but `leaves`."""

    def __init__(self, tables=(), outer=(), leaves=None, rows=1):
        self.tables, self.outer, self.leaves, self.rows = list(tables), list(outer), leaves, rows
        self.templates, self.below, self.keys = None, None, []

    def columns(self, type, outer=True):
        tables = self.tables + (self.outer if outer else [])
        return [f"{table.alias}.{name}" if table.alias else name for table in tables
                for name, kind in table.columns.items() if kind == type]

    def all_columns(self):
        return [column for type in TYPES for column in self.columns(type, outer=False)]

    def order(self):
        return [column for table in self.tables for column in table.order]


class Generator:
    """One query from one random source; `features` tells what it has."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        self.count, self.features, self.views, self.inside, self.filtering = 0, set(), [], 0, False

    def chance(self, share):
        return self.draw.random() < share

    def name(self, letter):
        self.count += 1
        return f"{letter}{self.count}"

    # Expressions

    def constant(self, type):
        return Expression(self.draw.choice(CONSTANTS[type]), type=type)

    def leaf(self, type, scope):
        """A column, a key of the grouping, an aggregate or a window function, else a constant."""
        if scope.templates and type in scope.templates and self.chance(0.6):
            return self.from_template(self.template(type, scope.templates), type, scope.below, 1, scope)
        if scope.leaves is not None:
            found = scope.leaves.get(type, [])
            return self.draw.choice(found) if found and self.chance(0.9) else self.constant(type)
        own, all = scope.columns(type, outer=False), scope.columns(type)
        found = own if own and self.chance(0.75) else all
        return Expression(self.draw.choice(found), type=type) if found and self.chance(0.93) else self.constant(type)

    def expression(self, type, scope, depth):
        if type not in ("bool", "interval", "array") and (depth <= 0 or self.chance(0.3)) or depth < -1 and type == "bool":
            return self.leaf(type, scope)
        if type == "bool":
            return self.condition(scope, depth)
        if scope.templates and type in scope.templates and self.chance(0.5):
            return self.leaf(type, scope)
        if type in TYPES and self.chance(0.04):
            made = self.scalar(type, scope)
            if made:
                return made
        return self.from_template(self.template(type), type, scope, depth - 1)

    def template(self, type, templates=VALUES):
        return self.draw.choice(templates[type])

    def from_template(self, template, type, scope, depth, around=None):
        """The template with its places filled; `{T}` is `type`, `{same}` what filled the first place."""
        if "{key}" in template and not around.keys:
            template = "min({int})"
        aggregates = around is not None and around.templates is AGGREGATES
        self.inside += around is not None
        made = self.with_places_filled(template, type, scope, depth, around, aggregates)
        self.inside -= around is not None
        return made

    def with_places_filled(self, template, type, scope, depth, around, aggregates):
        pieces, first = PLACE.split(template), None
        for place in range(1, len(pieces), 2):
            word = pieces[place]
            if word == "same":
                pieces[place] = first
                continue
            pieces[place] = self.filled(type if word == "T" else word, scope, depth, around)
            first = first or str(pieces[place])
        if aggregates and "grouping" not in template and self.chance(0.15):
            pieces.append(Maybe(" FILTER (WHERE ", self.condition(scope, 0), ")"))
            pieces = self.filter_inside(pieces)
        return Expression(*pieces, type=type)

    @staticmethod
    def filter_inside(pieces):
        """FILTER belongs to the aggregate: templates that are more than one call go without."""
        text = "".join(map(str, pieces[:-1]))
        depth, calls = 0, 0
        for letter in text:
            depth += (letter == "(") - (letter == ")")
            calls += letter == ")" and depth == 0
        within = "WITHIN GROUP" in text
        simple = text[0] != "(" and not text.startswith("array_to_string") and calls == (2 if within else 1) and text.endswith(")")
        return pieces if simple else pieces[:-1]

    def filled(self, word, scope, depth, around):
        if word in DRAWERS:
            return self.draw.choice(DRAWERS[word])
        if word == "any":
            return self.expression(self.draw.choice(COMMON), scope, 0)
        if word == "key":
            return self.draw.choice(around.keys)
        if word.endswith("col") and word[:-3] in TYPES:
            found = scope.columns(word[:-3]) if scope.leaves is None else []
            return Expression(self.draw.choice(found), type=word[:-3]) if found else Expression(self.draw.choice(CONSTANTS[word[:-3]][-1:]), type=word[:-3])
        if word in ("total", "order", "rows", "frame"):
            return self.over(word, scope)
        return self.expression(word, scope, depth)

    def condition(self, scope, depth):
        """A condition; deeper ones join several."""
        roll = self.draw.random()
        if depth > 0 and roll < 0.35:
            count = self.draw.choice([2, 2, 3])
            return Junction(self.draw.choice(["AND", "OR"]), [self.condition(scope, depth - 1) for _ in range(count)])
        if depth > 0 and roll < 0.45:
            return Expression("(NOT ", self.condition(scope, depth - 1), ")", type="bool")
        if depth > 0 and roll < 0.57:
            made = self.subquery_condition(scope)
            if made:
                return made
        if scope.templates and depth <= 1 and roll < 0.8 or depth < 0 and roll < 0.8:
            return self.leaf("bool", scope)
        return self.from_template(self.template("bool"), "bool", scope, depth - 1)

    def filter(self, scope, depth):
        """A condition of WHERE, in which subqueries may stand."""
        before, self.filtering = self.filtering, True
        made = self.condition(scope, depth)
        self.filtering = before
        return made

    def over(self, kind, scope):
        """The inside of OVER: `total` order, any order, `rows` of a frame over a total order, or any frame."""
        self.features.add("window")
        pieces = []
        if self.chance(0.6):
            keys = [self.window_key(scope) for _ in range(self.draw.choice([1, 1, 2]))]
            pieces.append(Maybe("PARTITION BY ", Items(keys), " "))
        if kind == "frame":
            kind = self.draw.choice(["none", "order", "rows", "rows", "range", "groups"])
        if kind == "none":
            return Node(*pieces)
        if kind == "range":
            return Node(*pieces, self.range_frame(scope))
        keys = [Node(self.window_key(scope), self.direction()) for _ in range(self.draw.choice([1, 1, 2]))]
        if kind in ("total", "rows"):
            rest = ", ".join(scope.order())
            pieces.append(Node("ORDER BY ", Items([*keys, Node(rest)] if rest else keys, least=len(keys) if not rest else 1)))
            if rest:
                pieces[-1] = Node("ORDER BY ", Maybe(Items(keys), ", "), rest)
        else:
            pieces.append(Node("ORDER BY ", Items(keys)))
        if kind in ("rows", "groups"):
            pieces.append(Maybe(f" {kind.upper()} BETWEEN ", self.bounds(str)))
        return Node(*pieces)

    def window_key(self, scope):
        return self.expression(self.draw.choice(["int", "text", "date", "bool", "num", "ts", "interval"]), scope, 0)

    def direction(self):
        return self.draw.choice(["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST", " ASC NULLS LAST"])

    def bounds(self, written):
        near, far = sorted(self.draw.sample(range(6), 2))
        return self.draw.choice([
            "UNBOUNDED PRECEDING AND CURRENT ROW", "UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
            f"{written(far)} PRECEDING AND CURRENT ROW", f"{written(far)} PRECEDING AND {written(near)} PRECEDING",
            f"{written(near)} PRECEDING AND {written(far)} FOLLOWING", f"CURRENT ROW AND {written(far)} FOLLOWING",
            f"{written(near)} FOLLOWING AND {written(far)} FOLLOWING", f"CURRENT ROW AND UNBOUNDED FOLLOWING",
            f"UNBOUNDED PRECEDING AND {written(near)} FOLLOWING"])

    def range_frame(self, scope):
        """ORDER BY one key, and a frame of values near it."""
        type, written = self.draw.choice([
            ("int", str), ("num", lambda n: f"{n}.5"), ("float", str), ("date", lambda n: f"INTERVAL '{n * 5} days'"),
            ("ts", lambda n: f"INTERVAL '{n * 12} hours'"), ("date", lambda n: f"INTERVAL '{n} months'")])
        return Node("ORDER BY ", Expression(self.draw.choice(scope.columns(type, outer=False) or [self.expression(type, scope, 0)]), type=type),
                    self.direction(), Maybe(" RANGE BETWEEN ", self.bounds(written)))

    # Subqueries

    def subquery_condition(self, scope):
        """EXISTS, IN, ANY, ALL or a comparison with one value; often correlated."""
        if (self.inside or not self.filtering) and not self.chance(0.3):
            return None
        self.features.add("subquery")
        form = self.draw.choice(["exists", "exists", "in", "in", "not in", "any", "all", "compare", "row"])
        negated = "NOT " if self.chance(0.4) else ""
        if form == "exists":
            made = self.select(0, outer=self.seen(scope), correlated=True)
            return made and Expression(f"({negated}EXISTS (", made.tree, "))", type="bool")
        type = self.draw.choice(["int", "text", "date", "num", "big", "bool", "float"])
        if form == "compare":
            made = self.scalar(type, scope)
            return made and Expression("(", self.expression(type, scope, 0), f" {self.draw.choice(DRAWERS['cmp'])} ", made, ")", type="bool")
        types = [type, "text"] if form == "row" else [type]
        made = self.select(0, types, self.seen(scope), correlated=self.chance(0.4), most=PAIRS // max(1, scope.rows))
        if not made:
            return None
        if any(not scope.columns(kind) for kind in types) and scope.leaves is None:
            return None
        left = Node("(", *sum(([self.expression(kind, scope, 0) if scope.leaves is not None else
                                Expression(self.draw.choice(scope.columns(kind)), type=kind), ", "] for kind in types), [])[:-1], ")")
        words = {"in": f" {negated}IN (", "not in": " NOT IN (", "row": f" {negated}IN (",
                 "any": f" {self.draw.choice(DRAWERS['cmp'])} ANY (", "all": f" {self.draw.choice(DRAWERS['cmp'])} ALL ("}
        return Expression("(", left, words[form], made.tree, "))", type="bool")

    def seen(self, scope):
        """The tables that a subquery in this scope may name, with the rows for each of which it runs."""
        return (scope.tables + scope.outer, scope.rows) if scope.leaves is None else ([], 1)

    def scalar(self, type, scope):
        """A subquery of one row."""
        if self.inside and not self.chance(0.3):
            return None
        self.features.add("subquery")
        outer, rows = self.seen(scope)
        if type in AGGREGATES and self.chance(0.7):
            made = self.select(0, [type], (outer, rows), correlated=True, kind="aggregate")
        else:
            made = self.select(0, [type], (outer, rows), correlated=True)
            made = made and Made(Ordered(made.tree, [(1, self.direction())], " LIMIT 1"), made.types, 1)
        return made and Expression("(", made.tree, ")", type=type)

    # FROM

    def base(self, most=None):
        tables = [("sales", 5000)] * 9 + [("products", 60)] * 3 + [("stores", 12)] * 2 + [("calendar", 366)] * 2 + [("shelves", 40)] * 2
        tables.append(("nothing", 1))
        name, rows = self.draw.choice([table for table in tables if most is None or table[1] <= most] or tables[-1:])
        alias = self.name("t")
        return Relation(f"{name} AS {alias}"), Table(alias, schema.COLUMNS[name], rows, [f"{alias}.{schema.KEYS[name]}"])

    def relation(self, depth, most=None, outer=()):
        """A table, a subquery, a list of values, a series of numbers or a query of WITH."""
        roll = self.draw.random()
        views = [view for view in self.views if most is None or view[1].rows <= most]
        if views and roll < 0.5:
            name, made = self.draw.choice(views)
            alias = self.name("v")
            columns = {f"c{n}": type for n, type in enumerate(made.types, 1)}
            return Relation(f"{name} AS {alias}"), Table(alias, columns, made.rows, [f"{alias}.{name}" for name in columns])
        if depth > 0 and roll < 0.22:
            made = self.query(depth - 1, most=most, named=True)
            if made and (most is None or made.rows <= most):
                self.features.add("derived")
                alias = self.name("d")
                columns = {f"c{n}": type for n, type in enumerate(made.types, 1)}
                names = ", ".join(columns)
                return (Relation("(", made.tree, f") AS {alias}({names})"),
                        Table(alias, columns, made.rows, [f"{alias}.{name}" for name in columns]))
        if roll > 0.96:
            return self.values()
        if roll > 0.93:
            alias, last = self.name("g"), self.draw.choice([3, 10, 25])
            return (Relation(f"generate_series(1, {last}) AS {alias}(n)"), Table(alias, {"n": "int"}, last, [f"{alias}.n"]))
        return self.base(most)

    def values(self):
        self.features.add("values")
        alias, types = self.name("l"), self.draw.sample(TYPES, 3)
        lines = [Node("(", ", ".join(str(self.constant(type)) for type in types), ")") for _ in range(self.draw.randrange(2, 6))]
        lines.insert(0, Node("(", ", ".join(f"{value}::{schema.NAMES[type]}" for type in types
                                            for value in [self.draw.choice(CONSTANTS[type][:-1])]), ")"))
        columns = {f"c{n}": type for n, type in enumerate(types, 1)}
        return (Relation("(VALUES ", Items(lines), f") AS {alias}({', '.join(columns)})"),
                Table(alias, columns, len(lines), [f"{alias}.{name}" for name in columns]))

    def source(self, depth, most=None, outer=([], 1)):
        """A FROM clause and its scope."""
        tree, table = self.relation(depth, most)
        tables, rows = [table], table.rows
        for _ in range(self.draw.choice([0, 0, 0, 0, 1, 1, 2])):
            made = self.join(depth, tree, tables, rows, most)
            if made:
                tree, tables, rows = made
                self.features.add("join")
        return tree, Scope(tables, outer[0], rows=rows)

    def join(self, depth, tree, tables, rows, most):
        right, table = self.relation(depth - 1, most)
        if self.chance(0.07) and rows * 12 <= PAIRS:
            made = self.lateral(tables, rows)
            if made:
                return made[0](tree), tables + [made[1]], rows * 2
        kind = self.draw.choice(["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"])
        if kind == "CROSS JOIN":
            if rows * table.rows > 3000:
                return None
            return Joined(tree, self.draw.choice([" CROSS JOIN ", ", "]), right), tables + [table], rows * table.rows
        other = self.draw.choice(tables)
        shared = [name for name, type in table.columns.items() if other.columns.get(name) == type and other.alias]
        keys = [name for name in shared if name in ("store_id", "sku", "day", "sale_id")]
        if rows * table.rows <= 30_000 and kind != "FULL JOIN" and self.chance(0.4):
            scope = Scope([*tables, table], rows=rows * table.rows)
            return (Joined(tree, f" {kind} ", right, " ON ", self.condition(scope, 1)), tables + [table],
                    min(rows * table.rows, 30_000))
        if keys and table.order and f"{table.alias}.{keys[0]}" not in table.order and rows * table.rows > PAIRS:
            return self.equal(kind, tree, right, tables, table, [(f"{other.alias}.{key}", f"{table.alias}.{key}") for key in keys],
                              max(rows, table.rows)) if len(keys) > 2 else None
        if keys:
            key = self.draw.choice(keys)
            unique = [f"{table.alias}.{key}"] == table.order or [f"{other.alias}.{key}"] == other.order
            estimate = max(rows, table.rows) if unique else rows * table.rows // 10
            if estimate > 30_000:
                return None
            if self.chance(0.3) and len(tables) == 1:
                return self.using(kind, tree, right, other, table, key, estimate)
            return self.equal(kind, tree, right, tables, table, [(f"{other.alias}.{key}", f"{table.alias}.{key}")], estimate)
        return self.any_equal(kind, tree, right, tables, other, table, rows)

    def any_equal(self, kind, tree, right, tables, other, table, rows):
        """A join by two columns of one type, where few rows meet."""
        types = [type for type in ("int", "text", "date", "big", "num") if type in table.columns.values() and type in other.columns.values()]
        if not types or rows * table.rows > 100_000:
            return None
        type = self.draw.choice(types)
        one = self.draw.choice([f"{other.alias}.{name}" if other.alias else name for name, kind in other.columns.items() if kind == type])
        two = self.draw.choice([f"{table.alias}.{name}" for name, kind in table.columns.items() if kind == type])
        return self.equal(kind, tree, right, tables, table, [(one, two)], max(rows * table.rows // 3, 1))

    def equal(self, kind, tree, right, tables, table, pairs, estimate):
        conditions = [Node(f"{one} = {two}") for one, two in pairs]
        if self.chance(0.25):
            conditions.append(self.condition(Scope([*tables, table], rows=estimate), 0))
        return Joined(tree, f" {kind} ", right, " ON ", Items(conditions, " AND ")), tables + [table], estimate

    def using(self, kind, tree, right, other, table, key, estimate):
        """USING, whose column may be named without a table."""
        self.features.add("using")
        merged = Table("", {key: other.columns[key]}, 0, [])
        return Joined(tree, f" {kind} ", right, f" USING ({key})"), [other, table, merged], estimate

    def lateral(self, tables, rows):
        self.features.add("lateral")
        made = self.select(0, outer=(tables, rows), correlated=True, most=12)
        if not made:
            return None
        alias = self.name("x")
        columns = {f"c{n}": type for n, type in enumerate(made.types, 1)}
        ordered = Ordered(made.tree, [(1, self.direction())], " LIMIT 2")
        kind, end = self.draw.choice([(" CROSS JOIN LATERAL (", ""), (" LEFT JOIN LATERAL (", " ON true")])
        build = lambda left: Joined(left, kind, Node(ordered, f") AS {alias}({', '.join(columns)}){end}"))
        return build, Table(alias, columns, rows * 2, [f"{alias}.{name}" for name in columns])

    # Queries

    def query(self, depth, want=None, most=None, named=False):
        """A query of any kind, as a subquery where `named`."""
        if self.chance(0.15):
            return self.combined(depth, want, most)
        made = self.select(depth, want, most=most)
        if made and self.chance(0.2):
            return self.bounded(made)
        return made

    def select(self, depth, want=None, outer=([], 1), correlated=False, most=None, kind=None):
        """SELECT; of a kind of its own, or of the kind told."""
        tables, times = outer
        limit = most if most is not None else None
        if correlated and tables:
            limit = min(limit or PAIRS, PAIRS // max(times, 1))
            if limit < 12 or times > 500:
                return None
        before = self.filtering, self.inside
        self.filtering, self.inside = False, 0
        made = self.selected(depth, want, outer, correlated, kind, limit)
        self.filtering, self.inside = before
        return made

    def selected(self, depth, want, outer, correlated, kind, limit):
        """SELECT over at most `limit` rows."""
        tables = outer[0]
        tree, scope = self.source(depth, limit, outer if correlated else ([], 1))
        if limit and scope.rows > max(limit, 12):
            return None
        conditions = []
        if correlated and tables and self.chance(0.8):
            link = self.link(scope)
            if link:
                conditions.append(link)
                self.features.add("correlated")
        if self.chance(0.6):
            conditions.append(self.filter(scope, self.draw.choice([0, 0, 1, 1, 2])))
        where = Maybe(" WHERE ", Junction("AND", conditions)) if conditions else Node()
        kind = kind or self.draw.choice(["rows", "rows", "rows", "group", "group", "window", "distinct", "aggregate"])
        if kind == "group":
            return self.grouped(tree, scope, where, want)
        if kind == "aggregate":
            return self.aggregated(tree, scope, where, want)
        types = want or [self.draw.choice(COMMON) for _ in range(self.draw.choice([1, 1, 2, 2, 3, 4]))]
        if kind == "window":
            scope = self.with_templates(scope, WINDOWS)
        items = [self.expression(type, scope, self.draw.choice([0, 0, 1, 1, 2])) for type in types]
        head = "SELECT DISTINCT " if kind == "distinct" else "SELECT "
        if kind == "distinct":
            self.features.add("distinct")
        return Made(Select(head, [self.item(item, n) for n, item in enumerate(items, 1)], " FROM ", tree, where), types, scope.rows)

    def item(self, expression, number):
        return Node(expression, f" AS c{number}")

    def with_templates(self, scope, templates, leaves=None):
        """A scope whose leaves are aggregates or window functions over this one."""
        made = Scope(scope.tables, scope.outer, leaves, scope.rows)
        made.templates, made.below = templates, scope
        return made

    def link(self, scope):
        """An inner column equal to an outer one."""
        types = [type for type in ("text", "date", "int", "big") if scope.columns(type, outer=False) and
                 any(type in table.columns.values() for table in scope.outer)]
        if not types:
            return None
        type = self.draw.choice(types)
        outer = [f"{table.alias}.{name}" if table.alias else name for table in scope.outer for name, kind in table.columns.items()
                 if kind == type]
        return Expression(self.draw.choice(scope.columns(type, outer=False)), " = ", self.draw.choice(outer), type="bool")

    def aggregated(self, tree, scope, where, want):
        """Aggregates over everything."""
        self.features.add("aggregate")
        types = want or [self.draw.choice(COMMON) for _ in range(self.draw.choice([1, 1, 2, 2, 3, 4]))]
        inside = self.with_templates(Scope(scope.tables, (), None, scope.rows), AGGREGATES, {})
        items = [self.leaf_aggregate(type, inside) for type in types]
        return Made(Select("SELECT ", [self.item(item, n) for n, item in enumerate(items, 1)], " FROM ", tree, where), types, 1)

    def leaf_aggregate(self, type, inside):
        if self.chance(0.25):
            return self.expression(type, inside, 1)
        return self.from_template(self.template(type, AGGREGATES), type, inside.below, 1, inside)

    def grouped(self, tree, scope, where, want):
        """GROUP BY with keys, sets of keys or places of output columns, often HAVING."""
        self.features.add("group")
        below = Scope(scope.tables, (), None, scope.rows)
        keys, form = [], self.draw.choice(["plain", "plain", "plain", "places", "rollup", "cube", "sets", "mixed"])
        for _ in range(self.draw.choice([1, 1, 2, 2, 3])):
            type = self.draw.choice(["text", "text", "int", "date", "bool", "num", "ts"])
            found = below.columns(type, outer=False)
            if not found:
                continue
            key = Expression(self.draw.choice(found), type=type)
            if self.chance(0.25):
                key = self.from_template(self.draw.choice(VALUES[type]), type, below, 0)
                if not any(str(node) in below.all_columns() for node in key.descendants()) or "SELECT" in str(key):
                    key = Expression(self.draw.choice(found), type=type)
            if str(key) not in map(str, keys):
                keys.append(key)
        if not keys:
            return self.aggregated(tree, scope, where, want)
        leaves = {}
        for key in keys:
            leaves.setdefault(key.type, []).append(key)
        inside = self.with_templates(below, AGGREGATES, leaves)
        inside.keys = keys
        outside = inside
        if self.chance(0.15) and form in ("plain", "places"):
            outside = self.with_templates(inside, WINDOWS, leaves)
            outside.below = self.with_templates(below, AGGREGATES, leaves)
            outside.below.tables, outside.below.outer = [Table("", {}, 1, [str(key) for key in keys])], []
        types = want or [key.type for key in keys if self.chance(0.8)] + [self.draw.choice(COMMON) for _ in range(self.draw.randrange(1, 4))]
        items = []
        for place, type in enumerate(types):
            key = keys[place] if place < len(keys) and keys[place].type == type else None
            items.append(key if key and self.chance(0.8) else self.expression(type, outside, 1) if outside is not inside
                         else self.leaf_aggregate(type, inside))
        having = Maybe(" HAVING ", self.condition(inside, 1)) if self.chance(0.3) else Node()
        tail = Maybe(" GROUP BY ", self.grouping(form, keys, items))
        rows = min(scope.rows, 12 ** len(keys))
        return Made(Select("SELECT ", [self.item(item, n) for n, item in enumerate(items, 1)], " FROM ", tree, where, tail, having), types, rows)

    def grouping(self, form, keys, items):
        if form == "places" and all(key in items for key in keys):
            return ", ".join(str(items.index(key) + 1) for key in keys)
        if form in ("plain", "places"):
            return Items(keys)
        self.features.add("grouping sets")
        if form == "mixed" and len(keys) > 1:
            return Node(keys[0], ", ROLLUP(", Items(keys[1:]), ")")
        if form == "sets":
            sets = [Node("(", Items(self.draw.sample(keys, self.draw.randrange(0, len(keys) + 1)), least=0), ")") for _ in range(3)]
            return Node("GROUPING SETS (", Items([Node("(", Items(keys), ")"), *sets]), ")")
        return Node("CUBE(" if form == "cube" else "ROLLUP(", Items(keys), ")")

    def combined(self, depth, want, most):
        """UNION, INTERSECT or EXCEPT."""
        self.features.add("set operation")
        types = want or [self.draw.choice(COMMON) for _ in range(self.draw.randrange(1, 4))]
        sides = [types, [self.narrower(type) for type in types]]
        self.draw.shuffle(sides)
        left, right = (self.select(depth, side, most=most) for side in sides)
        if not left or not right:
            return self.select(depth, types, most=most)
        word = self.draw.choice(["UNION", "UNION ALL", "UNION ALL", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"])
        left, right = (self.bounded(made) if self.chance(0.15) else made for made in (left, right))
        made = Made(Both(left.tree, word, right.tree), types, left.rows + right.rows)
        if self.chance(0.2):
            third = self.select(depth, types, most=most)
            if third:
                made = Made(Both(made.tree, self.draw.choice(["UNION", "EXCEPT", "INTERSECT"]), third.tree), types, made.rows + third.rows)
        return made

    def narrower(self, type):
        return self.draw.choice(NARROWER[type]) if type in NARROWER and self.chance(0.3) else type

    def bounded(self, made, hidden=()):
        """In a total order with LIMIT and OFFSET."""
        self.features.add("order and limit")
        width = len(made.types)
        keys = [(place, self.direction()) for place in self.draw.sample(range(1, width + 1), self.draw.randrange(1, width + 1))]
        bounds = self.draw.choice([" LIMIT 10", " LIMIT 3 OFFSET 2", " LIMIT 100", " LIMIT 0", " OFFSET 5", " FETCH FIRST 7 ROWS ONLY",
                                   " OFFSET 2 ROWS FETCH NEXT 4 ROWS ONLY"])
        return Made(Ordered(made.tree, keys, bounds), made.types, min(made.rows, 100))

    def distinct_on(self):
        """DISTINCT ON the first columns of an order."""
        tree, scope = self.source(1)
        types = [self.draw.choice(COMMON) for _ in range(self.draw.randrange(2, 5))]
        items = [self.expression(type, scope, self.draw.choice([0, 0, 1])) for type in types]
        if not any(column in str(items[0]) for column in scope.all_columns()):
            return None
        where = Maybe(" WHERE ", self.filter(scope, 1)) if self.chance(0.5) else Node()
        body = Select(f"SELECT DISTINCT ON ({items[0]}) ", [self.item(item, n) for n, item in enumerate(items, 1)], " FROM ", tree, where)
        return Made(Ordered(body, [(1, self.direction()), (2, self.direction())]), types, scope.rows)

    def recursive(self):
        """WITH RECURSIVE, a walk over days or numbers."""
        last = self.draw.choice([5, 20, 60])
        tree, scope = self.source(0, 400)
        scope.tables.append(Table("w", {"n": "int", "v": "text"}, last, ["w.n"]))
        word = self.draw.choice(["UNION ALL", "UNION"])
        body = self.draw.choice(["w.v || 'a'", "left(w.v || 'xyz', 5)", "upper(w.v)"])
        items = [self.item(self.expression(type, scope, 1), n) for n, type in enumerate(self.draw.sample(COMMON, 3), 1)]
        head = (f"WITH RECURSIVE w(n, v) AS (SELECT 1, 'q' {word} SELECT w.n + {self.draw.choice([1, 2])}, {body} FROM w "
                f"WHERE w.n < {last}) SELECT ")
        head = head.replace("'q' ", "CAST('q' AS text) ")
        where = Maybe(" WHERE ", self.filter(scope, 1))
        return Made(Select(head, items, " FROM ", Joined(tree, " JOIN ", Relation("w"), f" ON w.n <= {self.draw.choice([2, 4])}"), where),
                    [], 100)

    def common(self):
        """WITH and one to three queries."""
        parts = []
        for _ in range(self.draw.choice([1, 1, 2, 3])):
            made = self.query(1, named=True)
            if made:
                name = self.name("q")
                columns = ", ".join(f"c{n}" for n in range(1, len(made.types) + 1))
                how = self.draw.choice(["", "", "", "MATERIALIZED ", "NOT MATERIALIZED "])
                parts.append(Node(f"{name}({columns}) AS {how}(", made.tree, ")"))
                self.views.append((name, made))
        made = self.query(1)
        if not parts or not made:
            return made
        names = [f"c{n}" for n in range(1, len(made.types) + 1)]
        return Made(Select(Node("WITH ", Items(parts), " SELECT "), [Node(f"z.{name}") for name in names], " FROM (", made.tree,
                           f") AS z({', '.join(names)})"), made.types, made.rows)

    def statement(self):
        """A whole statement: its class, its tree and whether it tells an order."""
        kind = self.draw.choice(["rows"] * 4 + ["group"] * 4 + ["window"] * 3 + ["aggregate"] * 2 + ["distinct", "set operation", "set operation",
                                "with", "with", "distinct on", "recursive", "odd types", "query", "query"])
        for _ in range(50):
            made = self.of_kind(kind)
            if made:
                break
            self.views = []
        tree = made.tree
        if kind != "recursive" and made.rows > 1000 and self.chance(0.8):
            tree = self.bounded(made).tree if kind != "distinct on" else Ordered(tree.parts[0], tree.keys, " LIMIT 50")
        elif kind not in ("distinct on", "recursive", "with") and self.chance(0.3):
            tree = self.ordered(made)
        return kind, tree, isinstance(tree, Ordered)

    def of_kind(self, kind):
        if kind in ("rows", "group", "window", "aggregate", "distinct"):
            return self.select(2, kind=kind)
        if kind == "set operation":
            return self.combined(1, None, None)
        if kind == "odd types":
            return self.odd_types()
        return {"with": self.common, "distinct on": self.distinct_on, "recursive": self.recursive, "query": lambda: self.query(2)}[kind]()

    def odd_types(self):
        """Intervals and arrays."""
        tree, scope = self.source(1)
        types = [self.draw.choice(["interval", "array", "interval", "text", "int"]) for _ in range(self.draw.randrange(1, 4))]
        where = Maybe(" WHERE ", self.filter(scope, 1)) if self.chance(0.5) else Node()
        if self.chance(0.4):
            inside = self.with_templates(scope, AGGREGATES, {})
            items = [self.leaf_aggregate(type, inside) if type in AGGREGATES else self.constant(type) for type in types]
        else:
            items = [self.expression(type, scope, 1) for type in types]
        return Made(Select("SELECT ", [self.item(item, n) for n, item in enumerate(items, 1)], " FROM ", tree, where), types, scope.rows)

    def ordered(self, made):
        if not made.types or self.chance(0.6):
            return self.bounded(made).tree if made.types else made.tree
        keys = [(place, self.direction()) for place in self.draw.sample(range(1, len(made.types) + 1), 1)]
        return Ordered(made.tree, keys)
