"""Made-up sales of a shop, as the statements that make them in every engine."""
import datetime
import random

DAYS = 366
FIRST_DAY = datetime.date(2023, 7, 1)
REGIONS = ["north", "south", "Nord-Ost", "Île", "", None]
CATEGORIES = ["food", "toys", "Möbel", "книги", "FOOD", "fo_d", None]
BRANDS = ["Acme", "acme", "Ωmega", "100%", "O'Neil", None]
TITLES = ["Red shoe", "blue  shoe", " padded ", "Ärmel lang", "寿司セット", "🍕 pizza", "naïve\tcafé", "", "a_b%c", "Élan", "élan", "Z"]
NOTES = ["gift", "Gift", "late; again", "über", "a,b", "  ", "", "100 %", "x_y", "ε", "back\\slash", 'say "hi"']
EVENTS = ["Easter", "easter", "Black Friday", "Tag der Einheit", None]

COLUMNS = {
    "stores": {"store_id": "text", "name": "text", "region": "text", "opened": "date", "sqm": "int", "rating": "float",
               "active": "bool"},
    "products": {"sku": "text", "title": "text", "category": "text", "brand": "text", "list_price": "num", "weight": "float",
                 "launched": "date", "pack": "int"},
    "calendar": {"day": "date", "week": "int", "event": "text", "holiday": "bool", "temperature": "float"},
    "sales": {"sale_id": "big", "store_id": "text", "sku": "text", "day": "date", "sold_at": "ts", "units": "int",
              "price": "float", "revenue": "num", "promo": "bool", "note": "text"},
    "shelves": {"shelf": "int", "store_id": "text", "sku": "text", "facings": "int", "depth": "num", "checked": "ts"},
    "nothing": {"sale_id": "big", "store_id": "text", "sku": "text", "day": "date", "units": "int", "price": "float",
                "revenue": "num", "promo": "bool", "reason": "text"},
}
KEYS = {"stores": "store_id", "products": "sku", "calendar": "day", "sales": "sale_id", "shelves": "shelf", "nothing": "sale_id"}
NAMES = {"text": "text", "date": "date", "int": "integer", "big": "bigint", "float": "double precision", "num": "numeric(12,2)",
         "bool": "boolean", "ts": "timestamp"}


def rows(seed=1, sales=5000):
    """The rows of every table, in the order of their columns."""
    draw = random.Random(seed)
    days = [FIRST_DAY + datetime.timedelta(n) for n in range(DAYS)]
    some = lambda value, share=0.1: None if draw.random() < share else value
    quarter = lambda low, high: draw.randrange(low * 4, high * 4) / 4
    cents = lambda low, high: f"{draw.randrange(low * 100, high * 100) / 100:.2f}"
    stores = [[f"S{n}" if n else "Ü-Markt", f"Store {n % 9}", draw.choice(REGIONS), some(draw.choice(days)),
               some(draw.randrange(-5, 40) * 25), some(quarter(0, 5)), some(draw.random() < 0.7)] for n in range(12)]
    products = [[f"P{n:03}" if n % 10 else f"п-{n}", draw.choice(TITLES), draw.choice(CATEGORIES), draw.choice(BRANDS),
                 some(cents(0, 90)), some(quarter(-2, 30)), some(draw.choice(days)), some(draw.randrange(0, 13))]
                for n in range(60)]
    calendar = [[day, day.isocalendar()[1], draw.choice(EVENTS) if draw.random() < 0.2 else None, some(draw.random() < 0.1),
                 some(quarter(-15, 35))] for day in days]
    store_ids = [row[0] for row in stores[:-2]] + ["S99"]
    skus = [row[0] for row in products[:-5]] + ["gone"]
    sold = []
    for number in range(sales):
        day = draw.choice(days)
        units = some(draw.choice([0, 1, 1, 1, 2, 2, 3, 5, 8, 40, -1, -3]), 0.08)
        at = datetime.datetime.combine(day, datetime.time()) + datetime.timedelta(seconds=draw.randrange(86400))
        sold.append([number + 1, some(draw.choice(store_ids), 0.03), some(draw.choice(skus), 0.03), day, some(at, 0.05), units,
                     some(quarter(0, 60), 0.07), some(cents(-20, 400), 0.07), some(draw.random() < 0.2, 0.15),
                     draw.choice(NOTES) if draw.random() < 0.3 else None])
    for number in range(0, sales, 50):
        sold[number][1:] = sold[number - 7][1:]
    shelves = [[number, some(draw.choice(store_ids)), some(draw.choice(skus)), some(draw.randrange(0, 9)), some(cents(-3, 9)),
                some(datetime.datetime.combine(draw.choice(days), datetime.time(draw.randrange(24), 30)))] for number in range(40)]
    return {"stores": stores, "products": products, "calendar": calendar, "sales": sold, "shelves": shelves, "nothing": []}


def literal(value, type):
    """A value as SQL."""
    if value is None:
        return "NULL"
    if type in ("text", "date", "ts"):
        return "'" + str(value).replace("'", "''") + "'"
    return str(value).lower() if type == "bool" else str(value)


def statements(turned=False):
    """The statements that make and fill the tables, `turned` with the last rows first."""
    made = []
    for table, lines in rows().items():
        columns = COLUMNS[table]
        made.append(f"CREATE TABLE {table} ({', '.join(f'{name} {NAMES[type]}' for name, type in columns.items())})")
        lines = lines[::-1] if turned else lines
        for start in range(0, len(lines), 700):
            values = (", ".join(map(literal, line, columns.values())) for line in lines[start:start + 700])
            made.append(f"INSERT INTO {table} VALUES {', '.join(f'({value})' for value in values)}")
    return made
