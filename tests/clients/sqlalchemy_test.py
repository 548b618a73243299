"""SQLAlchemy: reflection of every kind of relation, ORM insert and select; pandas over it."""
import sys
import pandas
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

engine = sa.create_engine(f"postgresql+psycopg://ada@{sys.argv[1]}:{sys.argv[2]}/millstream")


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    height: Mapped[float | None]


with engine.begin() as connection:
    for statement in (
        "CREATE TABLE person (id INT PRIMARY KEY, name VARCHAR NOT NULL, height DOUBLE PRECISION)",
        "COMMENT ON TABLE person IS 'people'",
        "CREATE INDEX person_name ON person (name)",
        "CREATE VIEW tall AS SELECT id FROM person WHERE height > 1.8",
        "CREATE MATERIALIZED VIEW heights AS SELECT count(*) AS n FROM person",
    ):
        connection.execute(sa.text(statement))

inspector = sa.inspect(engine)
assert "person" in inspector.get_table_names(), inspector.get_table_names()
assert "tall" in inspector.get_view_names(), inspector.get_view_names()
assert inspector.get_materialized_view_names() == ["heights"]
columns = {column["name"]: column for column in inspector.get_columns("person")}
assert isinstance(columns["id"]["type"], sa.INTEGER) and not columns["name"]["nullable"], columns
assert inspector.get_pk_constraint("person")["constrained_columns"] == ["id"]
assert inspector.get_foreign_keys("person") == []
assert [(index["name"], index["column_names"]) for index in inspector.get_indexes("person")] == [("person_name", ["name"])]
assert inspector.get_unique_constraints("person") == [] and inspector.get_check_constraints("person") == []
metadata = sa.MetaData()
metadata.reflect(engine, views=True)
found = {name for name in metadata.tables if not name.startswith("ms_")}
assert found == {"person", "tall", "heights"}, found
assert [column.name for column in metadata.tables["person"].primary_key] == ["id"]
assert inspector.get_table_comment("person")["text"] == "people"
assert "height > 1.8" in inspector.get_view_definition("tall")

with Session(engine) as session:
    session.add_all([Person(id=1, name="ada", height=1.7), Person(id=2, name="bob", height=1.9)])
    session.commit()
    assert [person.name for person in session.scalars(sa.select(Person).order_by(Person.id))] == ["ada", "bob"]
    session.get(Person, 2).name = "rob"
    session.commit()
    assert session.scalar(sa.select(Person.name).where(Person.id == 2)) == "rob"

frame = pandas.read_sql("SELECT name, height FROM person ORDER BY id", engine)
assert list(frame["name"]) == ["ada", "rob"] and frame["height"].sum() == 1.7 + 1.9
print("ok")
