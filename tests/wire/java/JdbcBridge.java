import java.lang.reflect.Method;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Time;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.Instant;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/** Drives the official Arrow Flight SQL JDBC driver through the interfaces of java.sql, and through nothing else. */
final class JdbcBridge extends Bridge<Connection> {
    /** How long a statement runs before it is cancelled, and how long the cancel may take to show. */
    private static final long BEGUN_MILLIS = 700;

    private static final long CANCELLED_SECONDS = 60;

    /**
     * What the driver says when it closes, of itself: it forgets the memory of parameters whose binding failed, and it
     * closes the session of a connection with a catalog twice, the second time after it has closed the channel.
     */
    private static final Pattern ITS_OWN = Pattern.compile("Memory was leaked|Channel shutdown invoked");

    public static void main(String[] arguments) throws Exception {
        new JdbcBridge().serve();
    }

    @Override
    Connection open(Request request) throws SQLException {
        Properties properties = new Properties();
        properties.putAll(request.texts("properties"));
        return DriverManager.getConnection(request.text("url"), properties);
    }

    @Override
    void close(Connection connection) throws SQLException {
        try {
            connection.close();
        } catch (SQLException error) {
            if (!ITS_OWN.matcher(String.valueOf(error.getMessage())).find()) {
                throw error;
            }
        }
    }

    /** What breaks off a result, next() throws as it came: unchecked, and of a class that the jar keeps to itself. */
    private static final String WHILE_READING = "FlightRuntimeException";

    /** The message and those of its causes that say more: of a prepared statement the first names only the statement. */
    @Override
    String refusal(Throwable error) {
        if (!(error instanceof SQLException || error.getClass().getSimpleName().equals(WHILE_READING))) {
            return null;
        }
        StringBuilder told = new StringBuilder(String.valueOf(error.getMessage()).strip());
        for (Throwable cause = error.getCause(); cause != null; cause = cause.getCause()) {
            String message = String.valueOf(cause.getMessage()).strip();
            if (told.indexOf(message) < 0) {
                told.append("; caused by: ").append(message);
            }
        }
        return told.toString();
    }

    @Override
    Object answer(Connection connection, Request request) throws Exception {
        String sql = request.text("sql");
        switch (request.text("op")) {
            case "query":
                return query(connection, sql, request.list("parameters"));
            case "execute":
                return execute(connection, sql, request);
            case "update":
                return update(connection, sql, request.list("rows"));
            case "count":
                return count(connection, sql);
            case "describe":
                return describe(connection, sql);
            case "types":
                return types(connection, sql);
            case "cancel":
                return cancel(connection, sql);
            case "getters":
                return getters(connection.getMetaData());
            case "metadata":
                return call(DatabaseMetaData.class, connection.getMetaData(), request);
            case "connection":
                return call(Connection.class, connection, request);
            default:
                throw new IllegalArgumentException(request.text("op"));
        }
    }

    /** Always prepared: of an empty result of a plain Statement this driver tells every column twice. */
    private static Object query(Connection connection, String sql, List<?> parameters) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            bind(statement, parameters);
            try (ResultSet rows = statement.executeQuery()) {
                return table(rows);
            }
        }
    }

    /** execute() of a statement, prepared or not, and what is there afterwards. */
    private static Object execute(Connection connection, String sql, Request request) throws SQLException {
        try (Statement statement =
                request.yes("prepared") ? connection.prepareStatement(sql) : connection.createStatement()) {
            boolean first;
            if (statement instanceof PreparedStatement && request.yes("prepared")) {
                bind((PreparedStatement) statement, request.list("parameters"));
                first = ((PreparedStatement) statement).execute();
            } else {
                first = statement.execute(sql);
            }
            Map<String, Object> after = new LinkedHashMap<>();
            after.put("result_set", first);
            after.put("rows", first ? table(statement.getResultSet()) : null);
            after.put("update_count", statement.getUpdateCount());
            after.put("more_results", statement.getMoreResults());
            return after;
        }
    }

    private static Object update(Connection connection, String sql, List<?> rows) throws SQLException {
        if (rows.isEmpty()) {
            try (Statement statement = connection.createStatement()) {
                return statement.executeUpdate(sql);
            }
        }
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            if (rows.size() == 1) {
                bind(statement, (List<?>) rows.get(0));
                return statement.executeUpdate();
            }
            for (Object row : rows) {
                bind(statement, (List<?>) row);
                statement.addBatch();
            }
            return Arrays.stream(statement.executeBatch()).sum();
        }
    }

    private static Object count(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(sql)) {
            long count = 0;
            while (rows.next()) {
                count++;
            }
            return count;
        }
    }

    /** What a prepared statement tells before it is executed. */
    private static Object describe(Connection connection, String sql) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            ParameterMetaData parameters = statement.getParameterMetaData();
            List<Object> types = new ArrayList<>();
            for (int i = 1; i <= parameters.getParameterCount(); i++) {
                types.add(parameters.getParameterTypeName(i));
            }
            Map<String, Object> described = new LinkedHashMap<>();
            described.put("columns", columns(statement.getMetaData()));
            described.put("parameters", types);
            return described;
        }
    }

    /** Per column of the first row what each way to read it shows. */
    private static Object types(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(sql)) {
            ResultSetMetaData metadata = rows.getMetaData();
            List<Object> types = new ArrayList<>();
            rows.next();
            for (int i = 1; i <= metadata.getColumnCount(); i++) {
                Map<String, Object> type = new LinkedHashMap<>();
                type.put("column", metadata.getColumnLabel(i));
                type.put("type_name", metadata.getColumnTypeName(i));
                type.put("type", metadata.getColumnType(i));
                type.put("precision", metadata.getPrecision(i));
                type.put("scale", metadata.getScale(i));
                type.put("class", read(rows, i, false, true));
                type.put("object", read(rows, i, false, false));
                type.put("string", read(rows, i, true, false));
                types.add(type);
            }
            return types;
        }
    }

    /** The value by getObject or getString; its class instead if asked for; the error's text if it cannot be read. */
    private static Object read(ResultSet rows, int column, boolean text, boolean ofClass) {
        try {
            Object value = text ? rows.getString(column) : rows.getObject(column);
            if (ofClass) {
                return value == null ? null : value.getClass().getSimpleName();
            }
            return Shown.of(value);
        } catch (SQLException | RuntimeException error) {
            return "error: " + error.getMessage();
        }
    }

    /** Seconds from Statement.cancel(), called by another thread, to the error of the reading one. */
    private static Object cancel(Connection connection, String sql) throws Exception {
        try (Statement statement = connection.createStatement()) {
            CompletableFuture<Long> read = CompletableFuture.supplyAsync(() -> readAll(statement, sql));
            Thread.sleep(BEGUN_MILLIS);
            if (read.isDone()) {
                read.get();
                throw new IllegalStateException("the statement was done before it could be cancelled");
            }
            long from = System.nanoTime();
            statement.cancel();
            try {
                read.get(CANCELLED_SECONDS, TimeUnit.SECONDS);
            } catch (ExecutionException expected) {
                return (System.nanoTime() - from) / 1e9;
            }
            throw new IllegalStateException("the cancelled statement gave all its rows");
        }
    }

    private static long readAll(Statement statement, String sql) {
        try (ResultSet rows = statement.executeQuery(sql)) {
            long count = 0;
            while (rows.next()) {
                count++;
            }
            return count;
        } catch (SQLException error) {
            throw new IllegalStateException(error);
        }
    }

    /** Every method of DatabaseMetaData that takes no argument, with its answer or {"error": ...}. */
    private static Object getters(DatabaseMetaData metadata) {
        Map<String, Object> answers = new LinkedHashMap<>();
        Method[] methods = DatabaseMetaData.class.getMethods();
        Arrays.sort(methods, Comparator.comparing(Method::getName));
        for (Method method : methods) {
            if (method.getParameterCount() == 0) {
                try {
                    answers.put(method.getName(), told(method.invoke(metadata)));
                } catch (ReflectiveOperationException | SQLException | RuntimeException error) {
                    answers.put(method.getName(), Map.of("error", trace(error)));
                }
            }
        }
        return answers;
    }

    /** Calls the named method with the arguments of the request. */
    private static Object call(Class<?> type, Object target, Request request) throws Exception {
        List<?> arguments = request.list("arguments");
        for (Method method : type.getMethods()) {
            if (method.getName().equals(request.text("method")) && fits(method, arguments)) {
                Object[] typed = new Object[arguments.size()];
                for (int i = 0; i < typed.length; i++) {
                    typed[i] = argument(method.getParameterTypes()[i], arguments.get(i));
                }
                return told(method.invoke(target, typed));
            }
        }
        throw new NoSuchMethodException(request.text("method"));
    }

    private static boolean fits(Method method, List<?> arguments) {
        Class<?>[] types = method.getParameterTypes();
        if (types.length != arguments.size()) {
            return false;
        }
        for (int i = 0; i < types.length; i++) {
            if (arguments.get(i) instanceof String && types[i] != String.class) {
                return false;
            }
        }
        return true;
    }

    private static Object argument(Class<?> type, Object value) {
        if (type == int.class) {
            return ((Long) value).intValue();
        }
        if (type == String[].class && value != null) {
            return ((List<?>) value).toArray(new String[0]);
        }
        return value;
    }

    private static Object told(Object value) throws SQLException {
        if (value instanceof ResultSet) {
            return table((ResultSet) value);
        }
        return value instanceof Connection ? "a connection" : Shown.of(value);
    }

    private static Map<String, Object> table(ResultSet rows) throws SQLException {
        try (rows) {
            Map<String, Object> table = new LinkedHashMap<>();
            ResultSetMetaData metadata = rows.getMetaData();
            table.put("columns", columns(metadata));
            List<Object> all = new ArrayList<>();
            while (rows.next()) {
                List<Object> row = new ArrayList<>();
                for (int i = 1; i <= metadata.getColumnCount(); i++) {
                    row.add(value(rows, i, metadata.getColumnType(i)));
                }
                all.add(row);
            }
            table.put("rows", all);
            return table;
        }
    }

    /** By getObject, but for an instant, of which the driver has no object: there its users call getTimestamp. */
    private static Object value(ResultSet rows, int column, int type) throws SQLException {
        if (type != Types.TIMESTAMP_WITH_TIMEZONE) {
            return Shown.of(rows.getObject(column));
        }
        Timestamp instant = rows.getTimestamp(column);
        return instant == null ? null : Shown.instant(instant.toInstant());
    }

    private static List<String> columns(ResultSetMetaData metadata) throws SQLException {
        List<String> columns = new ArrayList<>();
        for (int i = 1; metadata != null && i <= metadata.getColumnCount(); i++) {
            columns.add(metadata.getColumnLabel(i));
        }
        return columns;
    }

    /** Each parameter is [setter, text]; setWhole and setReal stand for what the parameter's own type asks for. */
    private static void bind(PreparedStatement statement, List<?> parameters) throws SQLException {
        for (int i = 1; i <= parameters.size(); i++) {
            List<?> parameter = (List<?>) parameters.get(i - 1);
            String setter = (String) parameter.get(0);
            String text = (String) parameter.get(1);
            if (setter.equals("setWhole") || setter.equals("setReal")) {
                setter = number(setter, statement.getParameterMetaData().getParameterType(i));
            }
            set(statement, i, setter, text);
        }
    }

    /** The driver takes numbers of any width for another, but for a decimal only a decimal. */
    private static String number(String setter, int type) {
        if (type == Types.DECIMAL || type == Types.NUMERIC) {
            return "setBigDecimal";
        }
        return setter.equals("setWhole") ? "setLong" : "setDouble";
    }

    private static void set(PreparedStatement statement, int i, String setter, String text) throws SQLException {
        switch (setter) {
            case "setNull":
                statement.setNull(i, statement.getParameterMetaData().getParameterType(i));
                break;
            case "setObject":
                statement.setObject(i, null);
                break;
            case "setBoolean":
                statement.setBoolean(i, Boolean.parseBoolean(text));
                break;
            case "setByte":
                statement.setByte(i, Byte.parseByte(text));
                break;
            case "setShort":
                statement.setShort(i, Short.parseShort(text));
                break;
            case "setInt":
                statement.setInt(i, Integer.parseInt(text));
                break;
            case "setLong":
                statement.setLong(i, Long.parseLong(text));
                break;
            case "setFloat":
                statement.setFloat(i, Float.parseFloat(text));
                break;
            case "setDouble":
                statement.setDouble(i, Double.parseDouble(text));
                break;
            case "setBigDecimal":
                statement.setBigDecimal(i, new BigDecimal(text));
                break;
            case "setString":
                statement.setString(i, text);
                break;
            case "setBytes":
                statement.setBytes(i, HexFormat.of().parseHex(text));
                break;
            case "setDate":
                statement.setDate(i, Date.valueOf(text));
                break;
            case "setTime":
                statement.setTime(i, Time.valueOf(text));
                break;
            case "setTimestamp":
                statement.setTimestamp(i, Timestamp.valueOf(LocalDateTime.parse(text)));
                break;
            case "setInstant":
                statement.setTimestamp(i, Timestamp.from(Instant.parse(text)));
                break;
            default:
                statement.setObject(i, object(setter, text));
        }
    }

    /** What is given to setObject for "setObject:<class>". */
    private static Object object(String setter, String text) {
        switch (setter.substring(setter.indexOf(':') + 1)) {
            case "Integer":
                return Integer.valueOf(text);
            case "Long":
                return Long.valueOf(text);
            case "Short":
                return Short.valueOf(text);
            case "Byte":
                return Byte.valueOf(text);
            case "Boolean":
                return Boolean.valueOf(text);
            case "Float":
                return Float.valueOf(text);
            case "Double":
                return Double.valueOf(text);
            case "BigDecimal":
                return new BigDecimal(text);
            case "BigInteger":
                return new BigInteger(text);
            case "String":
                return text;
            case "Date":
                return Date.valueOf(text);
            case "Time":
                return Time.valueOf(text);
            case "Timestamp":
                return Timestamp.valueOf(LocalDateTime.parse(text));
            case "bytes":
                return HexFormat.of().parseHex(text);
            default:
                throw new IllegalArgumentException(setter);
        }
    }
}
