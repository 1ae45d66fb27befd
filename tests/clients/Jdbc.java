// pgjdbc: metadata, portals of a few rows, batches, query timeouts, warnings of a training.
import java.sql.*;
import java.util.*;

public class Jdbc {
    static void check(boolean right, String what) {
        if (!right) throw new AssertionError(what);
    }

    static Set<String> names(ResultSet rows, String column) throws SQLException {
        Set<String> found = new TreeSet<>();
        while (rows.next()) found.add(rows.getString(column));
        return found;
    }

    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
        for (String mode : new String[] {"", "?preferQueryMode=simple", "?binaryTransfer=true&prepareThreshold=-1"}) {
            try (Connection connection = DriverManager.getConnection(url + mode, System.getenv("PGUSER"), System.getenv("PGPASSWORD"))) {
                metadata(connection);
                rows(connection, mode.contains("simple"));
                changes(connection);
                training(connection);
            }
        }
    }

    static void metadata(Connection connection) throws SQLException {
        DatabaseMetaData about = connection.getMetaData();
        check(about.getDatabaseProductName().equals("PostgreSQL"), about.getDatabaseProductName());
        check(names(about.getTables(null, "public", "%", new String[] {"TABLE"}), "TABLE_NAME").containsAll(List.of("orders", "products", "sales")), "tables");
        check(names(about.getTables(null, "forecasts", "%", new String[] {"VIEW"}), "TABLE_NAME").contains("weekly"), "views of models");
        check(names(about.getSchemas(), "TABLE_SCHEM").containsAll(List.of("public", "forecasts")), "schemas");
        ResultSet columns = about.getColumns(null, "public", "orders", "price");
        check(columns.next() && columns.getInt("DATA_TYPE") == Types.NUMERIC, "type of price");
        check(columns.getInt("COLUMN_SIZE") == 10 && columns.getInt("DECIMAL_DIGITS") == 2, "size of price");
        check(about.getTypeInfo().next(), "types");
        about.getPrimaryKeys(null, "public", "orders").close();
        about.getIndexInfo(null, "public", "orders", false, false).close();
        about.getImportedKeys(null, "public", "orders").close();
        about.getFunctions(null, null, "forecast%").close();
        about.getTablePrivileges(null, "public", "orders").close();
    }

    static void rows(Connection connection, boolean simple) throws SQLException {
        connection.setAutoCommit(false);
        try (PreparedStatement query = connection.prepareStatement("SELECT * FROM orders WHERE order_id <= ? ORDER BY order_id")) {
            query.setFetchSize(50);
            query.setLong(1, 220);
            int count = 0;
            for (ResultSet rows = query.executeQuery(); rows.next(); count++) {
                check(rows.getLong("order_id") == count + 1, "order of the rows");
                check(rows.getBigDecimal("price").doubleValue() == 1.5 * (count + 1), "price " + rows.getBigDecimal("price"));
                check(rows.getTimestamp("ordered_at") != null, "time");
            }
            check(count == 220, count + " rows");
        }
        connection.commit();
        connection.setAutoCommit(true);
        try (Statement slow = connection.createStatement()) {
            slow.setQueryTimeout(1);
            slow.execute("SELECT count(*) FROM generate_series(1, 10000000) a(x), generate_series(1, 10000000) b(y)");
            check(false, "the query was not stopped");
        } catch (SQLException stopped) {
            check(stopped.getSQLState().equals("57014"), stopped.getSQLState());
        }
        try (Statement wrong = connection.createStatement()) {
            wrong.executeQuery("SELECT * FROM ordres");
            check(false, "no error");
        } catch (SQLException error) {
            check(error.getSQLState().equals("42P01") && error.getMessage().contains("orders"), error.getMessage());
        }
    }

    static void changes(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("DROP TABLE IF EXISTS notes");
            statement.execute("CREATE TABLE notes (id SERIAL, text VARCHAR(20))");
        }
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO notes (text) VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
            insert.setString(1, "a");
            check(insert.executeUpdate() == 1, "rows of an insert");
            ResultSet keys = insert.getGeneratedKeys();
            check(keys.next() && keys.getInt("id") == 1, "generated key");
        }
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO notes (text) VALUES (?)")) {
            for (String text : List.of("b", "c", "d")) {
                insert.setString(1, text);
                insert.addBatch();
            }
            check(Arrays.equals(insert.executeBatch(), new int[] {1, 1, 1}), "batch");
        }
        try (Statement statement = connection.createStatement()) {
            check(statement.executeUpdate("DELETE FROM notes WHERE id > 2") == 2, "rows of a delete");
        }
    }

    static void training(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("TRAIN OR REPLACE FORECAST MODEL jdbc ON sales TARGET units ORDER BY day HORIZON 7 USING seasonal_naive");
            ResultSet rows = statement.executeQuery("SELECT * FROM forecast(jdbc)");
            int count = 0;
            while (rows.next()) count++;
            check(count == 7, count + " rows of a forecast");
            rows = statement.executeQuery("SELECT * FROM train_forecast_model('jdbc2', on => 'sales', target => 'units', order_by => 'day', horizon => 7, using => 'seasonal_naive')");
            check(rows.next(), "no row of a training");
            statement.execute("DROP MODEL jdbc2");
        }
    }
}
