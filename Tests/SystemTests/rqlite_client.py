"""What pyrqlite makes of a gateway: rqlite_client.py HOST:PORT [TOKEN]. Without a token the database must be open."""

import sys

import pyrqlite.dbapi2 as rqlite

host, port = sys.argv[1].split(":")
connection = rqlite.connect(host=host, port=int(port))
if len(sys.argv) > 2:
    connection._headers["Fencing-Token"] = sys.argv[2]

with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE person (id INTEGER NOT NULL PRIMARY KEY, name TEXT, size REAL, big INTEGER)")
    people = [("fiona's", 1.5, 2**63 - 1), ("sinead %?", None, -(2**63)), ("gr\u00fc\u00df", 0.1, 9007199254740993)]
    cursor.executemany("INSERT INTO person (name, size, big) VALUES (?, ?, ?)", seq_of_parameters=people)
    assert cursor.rowcount == 3, cursor.rowcount
    cursor.execute("INSERT INTO person (name) VALUES (:name)", {"name": "last"})
    assert cursor.lastrowid == 4, cursor.lastrowid

    cursor.execute("SELECT name, size, big FROM person WHERE id < ? ORDER BY id", (4,))
    assert [tuple(row) for row in cursor.fetchall()] == people
    cursor.execute("UPDATE person SET name = ? WHERE id > ?", ("x", 2))
    assert cursor.rowcount == 2, cursor.rowcount
    cursor.execute("SELECT count(*) AS n FROM person WHERE name = 'x'")
    assert cursor.fetchone()["n"] == 2
    cursor.execute("SELECT id FROM person WHERE 0")
    assert cursor.fetchone() is None
    try:
        cursor.execute("INSERT INTO person (id) VALUES (1)")
        raise SystemExit("a double key passed")
    except rqlite.Error as error:
        assert "UNIQUE constraint failed" in str(error), error
print("pyrqlite is content")
