"""SQLAlchemy with psycopg and pg8000: reflection, ORM, Core."""
import os

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


def check(driver):
    url = sa.URL.create(
        f"postgresql+{driver}", os.environ["PGUSER"], os.environ["PGPASSWORD"], os.environ["PGHOST"],
        int(os.environ["PGPORT"]), os.environ["PGDATABASE"])
    engine = sa.create_engine(url)
    inspector = sa.inspect(engine)
    assert set(inspector.get_table_names()) >= {"orders", "products", "sales"}, inspector.get_table_names()
    assert inspector.get_view_names() == ["daily"], inspector.get_view_names()
    assert "weekly" in inspector.get_view_names("forecasts")
    assert "forecasts" in inspector.get_schema_names()
    assert inspector.get_table_comment("products")["text"] == "what is sold"
    columns = {c["name"]: c for c in inspector.get_columns("orders")}
    assert isinstance(columns["price"]["type"], sa.NUMERIC) and columns["price"]["type"].scale == 2
    assert isinstance(columns["tags"]["type"], sa.ARRAY), columns["tags"]
    assert columns["order_id"]["nullable"] is False
    assert "SELECT" in inspector.get_view_definition("daily").upper()
    metadata = sa.MetaData()
    orders = sa.Table("orders", metadata, autoload_with=engine)
    with engine.connect() as connection:
        query = sa.select(orders.c.channel, sa.func.sum(orders.c.qty)).group_by(orders.c.channel).order_by(orders.c.channel)
        rows = connection.execute(query).all()
        assert [r[0] for r in rows] == ["store", "web"], rows
        query = sa.select(orders.c.order_id).where(orders.c.channel.in_(["web"]), orders.c.qty > 2).limit(3)
        assert len(connection.execute(query).all()) == 3
        forecast = connection.execute(sa.text("SELECT * FROM forecasts.weekly")).all()
        assert len(forecast) == 7, forecast

    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = f"notes_{driver}"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        text: Mapped[str]

    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Note(id=1, text="a"), Note(id=2, text="b")])
        session.commit()
        session.get(Note, 2).text = "c"
        session.commit()
        assert [n.text for n in session.scalars(sa.select(Note).order_by(Note.id))] == ["a", "c"]
        session.delete(session.get(Note, 1))
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).select_from(Note)) == 1
    Base.metadata.drop_all(engine)


check("psycopg")
check("pg8000")
