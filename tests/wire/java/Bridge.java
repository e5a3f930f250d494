import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Lets another process drive a Java client: one JSON request per line on standard input, one answer per line on
 * standard output, in whatever order they are done. A request has an "id", an "op", and mostly a "connection"; its
 * answer has the same id and either "answer", "refused" (the client's own error text) or "broken" (a stack trace).
 */
abstract class Bridge<C> {
    private final Map<Long, C> connections = new ConcurrentHashMap<>();
    private final AtomicLong opened = new AtomicLong();
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private PrintStream answers;

    abstract C open(Request request) throws Exception;

    abstract void close(C connection) throws Exception;

    abstract Object answer(C connection, Request request) throws Exception;

    /** The text that a user of this client is shown for the error, or null if it is none of the client's errors. */
    abstract String refusal(Throwable error);

    final void serve() throws Exception {
        answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(System.err); // a library that prints does not spoil the answers
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Request request = new Request(line);
            threads.execute(() -> reply(request));
        }
        System.exit(0);
    }

    private void reply(Request request) {
        Map<String, Object> reply = new LinkedHashMap<>();
        reply.put("id", request.whole("id"));
        try {
            reply.put("answer", run(request));
        } catch (Throwable thrown) {
            Throwable error = thrown instanceof InvocationTargetException ? thrown.getCause() : thrown;
            String refusal = refusal(error);
            reply.put(refusal == null ? "broken" : "refused", refusal == null ? trace(error) : refusal);
        }
        String line = Json.write(reply);
        synchronized (answers) {
            answers.println(line);
        }
    }

    private Object run(Request request) throws Exception {
        if (request.text("op").equals("open")) {
            long number = opened.incrementAndGet();
            connections.put(number, open(request));
            return number;
        }
        if (request.text("op").equals("close")) {
            close(connections.remove(request.whole("connection")));
            return null;
        }
        return answer(connections.get(request.whole("connection")), request);
    }

    static String trace(Throwable error) {
        StringWriter trace = new StringWriter();
        error.printStackTrace(new PrintWriter(trace));
        return trace.toString();
    }
}
