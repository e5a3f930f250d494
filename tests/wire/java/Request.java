import java.util.List;
import java.util.Map;

/** The members of one request; one that is not there is null, an empty list or an empty map. */
final class Request {
    private final Map<?, ?> members;

    Request(String line) {
        members = (Map<?, ?>) Json.parse(line);
    }

    String text(String name) {
        return (String) members.get(name);
    }

    Long whole(String name) {
        return (Long) members.get(name);
    }

    boolean yes(String name) {
        return Boolean.TRUE.equals(members.get(name));
    }

    List<?> list(String name) {
        Object list = members.get(name);
        return list == null ? List.of() : (List<?>) list;
    }

    @SuppressWarnings("unchecked") // names and texts is what the caller sends there
    Map<String, String> texts(String name) {
        Object map = members.get(name);
        return map == null ? Map.of() : (Map<String, String>) map;
    }

    @SuppressWarnings("unchecked") // names of JSON are strings
    Map<String, Object> map(String name) {
        Object map = members.get(name);
        return map == null ? Map.of() : (Map<String, Object>) map;
    }
}
