// pgjdbc: metadata as tools ask for it, prepared statements in text and in binary, batches, fetch size, errors.
import java.sql.*;
import java.util.*;

public class Jdbc {
    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> found = new ArrayList<>();
        while (rows.next()) found.add(rows.getString(name));
        return found;
    }

    static void check(Object found, Object expected) {
        if (!Objects.equals(found, expected)) throw new AssertionError("found " + found + ", expected " + expected);
    }

    // What tools ask of a database before they show it.
    static void metadata(DatabaseMetaData meta) throws SQLException {
        check(column(meta.getPrimaryKeys(null, "public", "j"), "COLUMN_NAME"), List.of("id"));
        check(column(meta.getIndexInfo(null, "public", "j", false, false), "INDEX_NAME"), List.of("j_pkey", "j_v"));
        check(column(meta.getIndexInfo(null, "public", "j", true, true), "COLUMN_NAME"), List.of("id"));
        check(column(meta.getImportedKeys(null, "public", "j"), "FKTABLE_NAME"), List.of());
        check(column(meta.getExportedKeys(null, "public", "j"), "FKTABLE_NAME"), List.of());
        check(column(meta.getTables(null, "public", "jm", null), "TABLE_TYPE"), List.of("MATERIALIZED VIEW"));
        check(column(meta.getTables(null, "pg_catalog", "pg_class", null), "TABLE_TYPE"), List.of("SYSTEM TABLE"));
        check(column(meta.getTableTypes(), "TABLE_TYPE").contains("MATERIALIZED VIEW"), true);
        check(column(meta.getCatalogs(), "TABLE_CAT"), List.of("millstream"));
        ResultSet columns = meta.getColumns(null, "public", "j", "%");
        columns.next();
        check(columns.getInt("DATA_TYPE"), Types.INTEGER);
        check(columns.getString("IS_NULLABLE"), "NO");
        columns.next();
        check(columns.getString("TYPE_NAME"), "varchar");
        columns.next();
        check(List.of(columns.getInt("COLUMN_SIZE"), columns.getInt("DECIMAL_DIGITS")), List.of(10, 2));
        check(column(meta.getTypeInfo(), "TYPE_NAME").containsAll(List.of("int8", "text", "jsonb", "oid")), true);
        check(column(meta.getFunctions(null, null, "twice"), "FUNCTION_NAME"), List.of("twice"));
        check(column(meta.getFunctionColumns(null, null, "twice", null), "TYPE_NAME"), List.of("int8", "int8"));
        check(column(meta.getProcedures(null, null, "%"), "PROCEDURE_NAME"), List.of());
        check(column(meta.getTablePrivileges(null, "public", "j"), "PRIVILEGE").contains("SELECT"), true);
        check(column(meta.getBestRowIdentifier(null, "public", "j", DatabaseMetaData.bestRowSession, false), "COLUMN_NAME"), List.of("id"));
        check(meta.getMaxConnections() > 0, true);
        check(meta.getSQLKeywords().isEmpty(), false);
    }

    public static void main(String[] args) throws Exception {
        String url = "jdbc:postgresql://" + args[0] + ":" + args[1] + "/millstream?user=ada&prepareThreshold=2";
        try (Connection c = DriverManager.getConnection(url); Statement s = c.createStatement()) {
            s.execute("CREATE TABLE j (id INT PRIMARY KEY, v VARCHAR NOT NULL, n NUMERIC(10,2))");
            s.execute("CREATE VIEW jv AS SELECT id FROM j");
            s.execute("CREATE MATERIALIZED VIEW jm AS SELECT count(*) AS n FROM j");
            s.execute("CREATE INDEX j_v ON j (v)");
            s.execute("CREATE FUNCTION twice(x BIGINT) RETURNS BIGINT LANGUAGE sql RETURN x * 2");
            DatabaseMetaData meta = c.getMetaData();
            check(meta.getDatabaseProductName(), "PostgreSQL");
            check(column(meta.getTables(null, "public", "j%", new String[] {"TABLE"}), "TABLE_NAME"), List.of("j"));
            check(column(meta.getTables(null, "public", "j%", new String[] {"VIEW"}), "TABLE_NAME"), List.of("jv"));
            check(column(meta.getColumns(null, "public", "j", null), "COLUMN_NAME"), List.of("id", "v", "n"));
            check(column(meta.getSchemas(), "TABLE_SCHEM").contains("public"), true);
            try (PreparedStatement p = c.prepareStatement("INSERT INTO j VALUES (?, ?, ?)")) {
                for (int i = 0; i < 20; i++) {
                    p.setInt(1, i);
                    p.setString(2, "v" + i);
                    p.setBigDecimal(3, new java.math.BigDecimal("1.25"));
                    p.addBatch();
                }
                check(p.executeBatch().length, 20);
            }
            try (PreparedStatement p = c.prepareStatement("SELECT v, n FROM j WHERE id = ?")) {
                for (int i = 0; i < 10; i++) {
                    p.setInt(1, i);
                    ResultSet r = p.executeQuery();
                    r.next();
                    check(r.getString(1), "v" + i);
                    check(r.getBigDecimal(2), new java.math.BigDecimal("1.25"));
                }
            }
            c.setAutoCommit(false);
            s.setFetchSize(5);
            check(column(s.executeQuery("SELECT id FROM j ORDER BY id"), "id").size(), 20);
            Savepoint savepoint = c.setSavepoint();
            try {
                s.execute("INSERT INTO j VALUES (1, 'again', 0)");
                throw new AssertionError("a key came twice");
            } catch (SQLException e) {
                check(e.getSQLState(), "23505");
            }
            c.rollback(savepoint);
            s.execute("DELETE FROM j WHERE id = 0");
            c.commit();
            check(column(s.executeQuery("SELECT count(*) AS n FROM j"), "n"), List.of("19"));
            c.commit();
            metadata(meta);
            c.commit();
        }
        System.out.println("ok");
    }
}
