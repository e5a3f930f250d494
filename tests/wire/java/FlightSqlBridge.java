import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.arrow.flight.CallOption;
import org.apache.arrow.flight.CancelFlightInfoRequest;
import org.apache.arrow.flight.CloseSessionRequest;
import org.apache.arrow.flight.FlightCallHeaders;
import org.apache.arrow.flight.FlightClient;
import org.apache.arrow.flight.FlightEndpoint;
import org.apache.arrow.flight.FlightInfo;
import org.apache.arrow.flight.FlightRuntimeException;
import org.apache.arrow.flight.FlightStream;
import org.apache.arrow.flight.GetSessionOptionsRequest;
import org.apache.arrow.flight.HeaderCallOption;
import org.apache.arrow.flight.Location;
import org.apache.arrow.flight.NoOpSessionOptionValueVisitor;
import org.apache.arrow.flight.RenewFlightEndpointRequest;
import org.apache.arrow.flight.SessionOptionValue;
import org.apache.arrow.flight.SessionOptionValueFactory;
import org.apache.arrow.flight.SetSessionOptionsRequest;
import org.apache.arrow.flight.SetSessionOptionsResult;
import org.apache.arrow.flight.auth2.BearerCredentialWriter;
import org.apache.arrow.flight.client.ClientCookieMiddleware;
import org.apache.arrow.flight.grpc.CredentialCallOption;
import org.apache.arrow.flight.sql.FlightSqlClient;
import org.apache.arrow.flight.sql.FlightSqlClient.ExecuteIngestOptions;
import org.apache.arrow.flight.sql.FlightSqlClient.PreparedStatement;
import org.apache.arrow.flight.sql.FlightSqlClient.Transaction;
import org.apache.arrow.flight.sql.FlightSqlColumnMetadata;
import org.apache.arrow.flight.sql.impl.FlightSql.CommandStatementIngest.TableDefinitionOptions;
import org.apache.arrow.flight.sql.impl.FlightSql.CommandStatementIngest.TableDefinitionOptions.TableExistsOption;
import org.apache.arrow.flight.sql.impl.FlightSql.CommandStatementIngest.TableDefinitionOptions.TableNotExistOption;
import org.apache.arrow.flight.sql.util.TableRef;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VarBinaryVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.ipc.ArrowStreamReader;
import org.apache.arrow.vector.ipc.ReadChannel;
import org.apache.arrow.vector.ipc.message.MessageSerializer;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.Schema;
import org.apache.arrow.vector.util.ByteArrayReadableSeekableByteChannel;

/** Drives FlightSqlClient of Arrow's Java libraries: every call it has for what the server offers. */
final class FlightSqlBridge extends Bridge<FlightSqlBridge.Session> {
    /** How long a statement runs before it is cancelled, and how long the cancel may take to show. */
    private static final long BEGUN_MILLIS = 700;

    private static final long CANCELLED_SECONDS = 60;

    private final BufferAllocator allocator = new RootAllocator();

    /** A client, the options of all its calls, and the transaction that is open, or null. */
    static final class Session {
        private final FlightClient flight;
        private final FlightSqlClient client;
        private final CallOption[] options;
        private Transaction transaction;

        Session(FlightClient flight, List<CallOption> options) {
            this.flight = flight;
            this.client = new FlightSqlClient(flight);
            this.options = options.toArray(new CallOption[0]);
        }
    }

    public static void main(String[] arguments) throws Exception {
        new FlightSqlBridge().serve();
    }

    @Override
    Session open(Request request) throws Exception {
        Location location = new Location(request.text("uri"));
        FlightClient.Builder builder = FlightClient.builder(allocator, location)
                .intercept(new ClientCookieMiddleware.Factory());
        FlightClient flight = builder.verifyServer(false).build();
        List<CallOption> options = new ArrayList<>();
        if (request.text("user") != null) {
            flight.authenticateBasicToken(request.text("user"), request.text("password")).ifPresent(options::add);
        } else if (request.text("token") != null) {
            options.add(new CredentialCallOption(new BearerCredentialWriter(request.text("token"))));
        }
        FlightCallHeaders headers = new FlightCallHeaders();
        request.texts("headers").forEach(headers::insert);
        options.add(new HeaderCallOption(headers));
        return new Session(flight, options);
    }

    @Override
    void close(Session session) throws Exception {
        try {
            session.client.closeSession(new CloseSessionRequest(), session.options);
        } catch (FlightRuntimeException refused) {
            // Who was never let in has no session to close.
        } finally {
            session.client.close();
        }
    }

    @Override
    String refusal(Throwable error) {
        return error instanceof FlightRuntimeException ? String.valueOf(error.getMessage()).strip() : null;
    }

    @Override
    Object answer(Session s, Request request) throws Exception {
        String sql = request.text("sql");
        switch (request.text("op")) {
            case "query":
                return query(s, sql, request);
            case "update":
                return update(s, sql, request.list("rows"));
            case "count":
                return count(s, s.client.execute(sql, s.transaction, s.options));
            case "columns":
                return names(s.client.getExecuteSchema(sql, s.transaction, s.options).getSchema());
            case "parameters":
                return parameters(s, sql);
            case "list":
                return table(s, listed(s, request));
            case "fields":
                return fields(s, request);
            case "ingest":
                return ingest(s, request);
            case "transaction":
                return transaction(s, request.text("method"));
            case "set_session":
                return setSession(s, request);
            case "session":
                return session(s);
            case "close_unsigned":
                return closeUnsigned(s, sql);
            case "cancel":
                return cancel(s, sql);
            case "renew":
                return renew(s, sql);
            case "actions":
                List<String> actions = new ArrayList<>();
                s.flight.listActions(s.options).forEach(action -> actions.add(action.getType()));
                return actions;
            default:
                throw new IllegalArgumentException(request.text("op"));
        }
    }

    private Object query(Session s, String sql, Request request) throws Exception {
        Map<String, Object> named = request.map("named");
        List<?> values = request.list("parameters");
        if (values.isEmpty() && named.isEmpty()) {
            return table(s, s.client.execute(sql, s.transaction, s.options));
        }
        return prepared(s, sql, statement -> {
            List<Field> asked = statement.getParameterSchema().getFields();
            List<Object> row = new ArrayList<>(values);
            for (Field field : named.isEmpty() ? List.<Field>of() : asked) {
                row.add(named.get(field.getName()));
            }
            try (VectorSchemaRoot root = Parameters.rooted(asked, List.of(row), allocator)) {
                statement.setParameters(root);
                return table(s, statement.execute(s.options));
            }
        });
    }

    private Object update(Session s, String sql, List<?> rows) throws Exception {
        if (rows.isEmpty()) {
            return s.client.executeUpdate(sql, s.transaction, s.options);
        }
        return prepared(s, sql, statement -> {
            List<Field> asked = statement.getParameterSchema().getFields();
            try (VectorSchemaRoot root = Parameters.rooted(asked, rows, allocator)) {
                statement.setParameters(root);
                return statement.executeUpdate(s.options);
            }
        });
    }

    private static Object parameters(Session s, String sql) throws Exception {
        return prepared(s, sql, statement -> {
            List<String> types = new ArrayList<>();
            for (Field field : statement.getParameterSchema().getFields()) {
                types.add(field.getType().toString());
            }
            return types;
        });
    }

    private interface Use {
        Object of(PreparedStatement statement) throws Exception;
    }

    /** Closed with the options of all calls: the close() of try-with-resources sends no credentials. */
    private static Object prepared(Session s, String sql, Use use) throws Exception {
        PreparedStatement statement = s.client.prepare(sql, s.transaction, s.options);
        try {
            return use.of(statement);
        } finally {
            statement.close(s.options);
        }
    }

    /** A prepared statement in try-with-resources, then the session's options: whether both went well. */
    private static Object closeUnsigned(Session s, String sql) throws Exception {
        try (PreparedStatement statement = s.client.prepare(sql, s.transaction, s.options)) {
            count(s, statement.execute(s.options));
        }
        return session(s);
    }

    private static long count(Session s, FlightInfo info) throws Exception {
        long count = 0;
        for (FlightEndpoint endpoint : info.getEndpoints()) {
            try (FlightStream stream = s.client.getStream(endpoint.getTicket(), s.options)) {
                while (stream.next()) {
                    count += stream.getRoot().getRowCount();
                }
            }
        }
        return count;
    }

    /** The rows of all endpoints in their order, and how many endpoints there were. */
    private static Map<String, Object> table(Session s, FlightInfo info) throws Exception {
        List<Object> rows = new ArrayList<>();
        List<String> columns = info.getSchemaOptional().map(FlightSqlBridge::names).orElse(null);
        for (FlightEndpoint endpoint : info.getEndpoints()) {
            try (FlightStream stream = s.client.getStream(endpoint.getTicket(), s.options)) {
                columns = names(stream.getSchema());
                while (stream.next()) {
                    add(stream.getRoot(), rows);
                }
            }
        }
        Map<String, Object> table = new LinkedHashMap<>();
        table.put("columns", columns);
        table.put("rows", rows);
        table.put("endpoints", info.getEndpoints().size());
        return table;
    }

    private static void add(VectorSchemaRoot root, List<Object> rows) throws SQLException {
        for (int row = 0; row < root.getRowCount(); row++) {
            List<Object> cells = new ArrayList<>();
            for (FieldVector vector : root.getFieldVectors()) {
                cells.add(Cells.of(vector, row));
            }
            rows.add(cells);
        }
    }

    private static List<String> names(Schema schema) {
        List<String> names = new ArrayList<>();
        schema.getFields().forEach(field -> names.add(field.getName()));
        return names;
    }

    /** The information on a metadata command; what the request leaves out is no filter. */
    private static FlightInfo listed(Session s, Request r) {
        TableRef table = TableRef.of(r.text("catalog"), r.text("schema"), r.text("table"));
        switch (r.text("method")) {
            case "getCatalogs":
                return s.client.getCatalogs(s.options);
            case "getSchemas":
                return s.client.getSchemas(r.text("catalog"), r.text("schema"), s.options);
            case "getTables":
                return tables(s, r, false);
            case "getTableTypes":
                return s.client.getTableTypes(s.options);
            case "getPrimaryKeys":
                return s.client.getPrimaryKeys(table, s.options);
            case "getImportedKeys":
                return s.client.getImportedKeys(table, s.options);
            case "getExportedKeys":
                return s.client.getExportedKeys(table, s.options);
            case "getCrossReference":
                return s.client.getCrossReference(table, table, s.options);
            case "getXdbcTypeInfo":
                return s.client.getXdbcTypeInfo(s.options);
            case "getSqlInfo":
                return s.client.getSqlInfo(new int[0], s.options);
            default:
                throw new IllegalArgumentException(r.text("method"));
        }
    }

    private static FlightInfo tables(Session s, Request r, boolean schemas) {
        List<String> types = new ArrayList<>();
        r.list("types").forEach(type -> types.add((String) type));
        return s.client.getTables(r.text("catalog"), r.text("schema"), r.text("table"), types, schemas, s.options);
    }

    /** The fields of the tables that fit, read from the schemas that getTables gives. */
    private static Object fields(Session s, Request request) throws Exception {
        List<Object> fields = new ArrayList<>();
        for (FlightEndpoint endpoint : tables(s, request, true).getEndpoints()) {
            try (FlightStream stream = s.client.getStream(endpoint.getTicket(), s.options)) {
                while (stream.next()) {
                    VarBinaryVector schemas = (VarBinaryVector) stream.getRoot().getVector("table_schema");
                    for (int row = 0; row < schemas.getValueCount(); row++) {
                        schema(schemas.get(row)).getFields().forEach(field -> fields.add(field(field)));
                    }
                }
            }
        }
        return fields;
    }

    private static Schema schema(byte[] message) throws Exception {
        return MessageSerializer.deserializeSchema(
                new ReadChannel(new ByteArrayReadableSeekableByteChannel(message)));
    }

    private static Map<String, Object> field(Field field) {
        FlightSqlColumnMetadata metadata = new FlightSqlColumnMetadata(field.getMetadata());
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("name", field.getName());
        told.put("type_name", metadata.getTypeName());
        told.put("size", metadata.getPrecision());
        told.put("nullable", field.isNullable());
        told.put("remarks", metadata.getRemarks());
        return told;
    }

    private Object ingest(Session s, Request request) throws Exception {
        TableDefinitionOptions definition = TableDefinitionOptions.newBuilder()
                .setIfNotExist(TableNotExistOption.valueOf("TABLE_NOT_EXIST_OPTION_" + request.text("if_not_exist")))
                .setIfExists(TableExistsOption.valueOf("TABLE_EXISTS_OPTION_" + request.text("if_exists")))
                .build();
        ExecuteIngestOptions into = new ExecuteIngestOptions(
                request.text("table"), definition, request.yes("temporary"), null, null, Map.of());
        try (InputStream file = Files.newInputStream(Path.of(request.text("file")));
                ArrowStreamReader reader = new ArrowStreamReader(file, allocator)) {
            return s.client.executeIngest(reader, into, s.transaction, s.options);
        }
    }

    /** Commits and rolls back what is open; if nothing is, this API has nothing to send. */
    private static Object transaction(Session s, String method) {
        if (method.equals("begin")) {
            s.transaction = s.client.beginTransaction(s.options);
        } else if (s.transaction != null) {
            Transaction open = s.transaction;
            s.transaction = null;
            if (method.equals("commit")) {
                s.client.commit(open, s.options);
            } else {
                s.client.rollback(open, s.options);
            }
        }
        return null;
    }

    private static Object setSession(Session s, Request request) {
        Map<String, SessionOptionValue> values = new LinkedHashMap<>();
        request.texts("values")
                .forEach((name, value) -> values.put(name, SessionOptionValueFactory.makeSessionOptionValue(value)));
        SetSessionOptionsResult result =
                s.client.setSessionOptions(new SetSessionOptionsRequest(values), s.options);
        Map<String, Object> errors = new LinkedHashMap<>();
        result.getErrors().forEach((name, error) -> errors.put(name, error.value.name()));
        return errors;
    }

    private static Object session(Session s) {
        Map<String, Object> values = new LinkedHashMap<>();
        Map<String, SessionOptionValue> told =
                s.client.getSessionOptions(new GetSessionOptionsRequest(), s.options).getSessionOptions();
        told.forEach((name, value) -> values.put(name, value.acceptVisitor(new TextOnly())));
        return values;
    }

    /** Seconds from cancelFlightInfo to the error of the thread that reads. */
    private static Object cancel(Session s, String sql) throws Exception {
        FlightInfo info = s.client.execute(sql, s.transaction, s.options);
        FlightStream stream = s.client.getStream(info.getEndpoints().get(0).getTicket(), s.options);
        CompletableFuture<Void> read = CompletableFuture.runAsync(() -> readAll(stream));
        try {
            Thread.sleep(BEGUN_MILLIS);
            if (read.isDone()) {
                read.get();
                throw new IllegalStateException("the statement was done before it could be cancelled");
            }
            long from = System.nanoTime();
            s.client.cancelFlightInfo(new CancelFlightInfoRequest(info), s.options);
            try {
                read.get(CANCELLED_SECONDS, TimeUnit.SECONDS);
            } catch (ExecutionException expected) {
                return (System.nanoTime() - from) / 1e9;
            }
            throw new IllegalStateException("the cancelled statement gave all its rows");
        } finally { // a server that did not cancel it would go on for nobody
            stream.cancel("the bridge is done with it", null);
        }
    }

    private static void readAll(FlightStream stream) {
        while (stream.next()) {
            // only the end is of interest
        }
    }

    /** The rows read with tickets that were renewed before. */
    private static Object renew(Session s, String sql) throws Exception {
        FlightInfo info = s.client.execute(sql, s.transaction, s.options);
        List<Object> rows = new ArrayList<>();
        List<String> expirations = new ArrayList<>();
        for (FlightEndpoint endpoint : info.getEndpoints()) {
            FlightEndpoint renewed =
                    s.client.renewFlightEndpoint(new RenewFlightEndpointRequest(endpoint), s.options);
            renewed.getExpirationTime().ifPresent(time -> expirations.add(time.toString()));
            try (FlightStream stream = s.client.getStream(renewed.getTicket(), s.options)) {
                while (stream.next()) {
                    add(stream.getRoot(), rows);
                }
            }
        }
        return Map.of("rows", rows, "expirations", expirations);
    }

    /** Values of session options that are texts; others are null. */
    private static final class TextOnly extends NoOpSessionOptionValueVisitor<String> {
        @Override
        public String visit(String value) {
            return value;
        }
    }
}
