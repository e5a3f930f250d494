import java.math.BigDecimal;
import java.math.BigInteger;
import java.sql.Array;
import java.sql.Date;
import java.sql.SQLException;
import java.sql.Struct;
import java.sql.Time;
import java.sql.Timestamp;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeFormatterBuilder;
import java.time.temporal.ChronoField;
import java.time.temporal.ChronoUnit;
import java.time.temporal.TemporalAmount;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Values that the clients return, in the form in which the wire suite tells them (tests/wire/client.py). */
final class Shown {
    /** Seconds always, and of a fraction no trailing zeros. */
    private static final DateTimeFormatter TIME = new DateTimeFormatterBuilder()
            .appendPattern("HH:mm:ss")
            .appendFraction(ChronoField.NANO_OF_SECOND, 0, 9, true)
            .toFormatter();

    private Shown() {}

    static Object of(Object value) throws SQLException {
        if (value == null || value instanceof Boolean) {
            return value;
        }
        if (value instanceof Number) {
            return number((Number) value);
        }
        if (value instanceof byte[]) {
            return "hex:" + HexFormat.of().formatHex((byte[]) value);
        }
        if (value instanceof Array) {
            return list(Arrays.asList((Object[]) ((Array) value).getArray()));
        }
        if (value instanceof Struct) {
            return list(Arrays.asList(((Struct) value).getAttributes()));
        }
        if (value instanceof List) {
            return list((List<?>) value);
        }
        if (value instanceof Map) {
            return map((Map<?, ?>) value);
        }
        return value instanceof TemporalAmount ? interval((TemporalAmount) value) : moment(value);
    }

    private static Object number(Number value) {
        if (value instanceof BigDecimal) {
            return ((BigDecimal) value).toPlainString();
        }
        if (value instanceof BigInteger) {
            return value.toString();
        }
        if (!(value instanceof Double || value instanceof Float)) {
            return value.longValue();
        }
        double real = value.doubleValue();
        if (Double.isNaN(real)) {
            return "nan";
        }
        return Double.isInfinite(real) ? (real > 0 ? "inf" : "-inf") : (Object) real;
    }

    private static Map<String, Object> interval(TemporalAmount value) {
        Map<String, Object> interval = new LinkedHashMap<>();
        interval.put("months", value.get(ChronoUnit.YEARS) * 12 + value.get(ChronoUnit.MONTHS));
        interval.put("days", value.get(ChronoUnit.DAYS));
        interval.put("nanoseconds", value.get(ChronoUnit.SECONDS) * 1_000_000_000L + value.get(ChronoUnit.NANOS));
        return interval;
    }

    /** A date, time or timestamp; anything else as its own text. */
    private static String moment(Object value) {
        if (value instanceof Timestamp) {
            return dateTime(((Timestamp) value).toLocalDateTime());
        }
        if (value instanceof Date) {
            return ((Date) value).toLocalDate().toString();
        }
        if (value instanceof Time) { // its own toLocalTime() drops the milliseconds
            Instant instant = Instant.ofEpochMilli(((Time) value).getTime());
            return time(instant.atZone(ZoneId.systemDefault()).toLocalTime());
        }
        if (value instanceof LocalDate) {
            return value.toString();
        }
        if (value instanceof LocalTime) {
            return time((LocalTime) value);
        }
        if (value instanceof LocalDateTime) {
            return dateTime((LocalDateTime) value);
        }
        if (value instanceof OffsetDateTime) {
            return instant(((OffsetDateTime) value).toInstant());
        }
        if (value instanceof ZonedDateTime) {
            return instant(((ZonedDateTime) value).toInstant());
        }
        return value instanceof Instant ? instant((Instant) value) : value.toString();
    }

    static String instant(Instant value) {
        return dateTime(LocalDateTime.ofInstant(value, ZoneOffset.UTC)) + "Z";
    }

    static String time(LocalTime value) {
        return TIME.format(value);
    }

    private static String dateTime(LocalDateTime value) {
        return value.toLocalDate() + "T" + time(value.toLocalTime());
    }

    private static List<Object> list(List<?> values) throws SQLException {
        List<Object> shown = new ArrayList<>();
        for (Object value : values) {
            shown.add(of(value));
        }
        return shown;
    }

    private static Map<String, Object> map(Map<?, ?> values) throws SQLException {
        Map<String, Object> shown = new LinkedHashMap<>();
        for (Map.Entry<?, ?> member : values.entrySet()) {
            shown.put(String.valueOf(member.getKey()), of(member.getValue()));
        }
        return shown;
    }
}
