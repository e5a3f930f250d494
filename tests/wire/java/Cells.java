import java.sql.SQLException;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalTime;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.arrow.vector.DateDayVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.TimeMicroVector;
import org.apache.arrow.vector.TimeMilliVector;
import org.apache.arrow.vector.TimeNanoVector;
import org.apache.arrow.vector.TimeSecVector;
import org.apache.arrow.vector.TimeStampMicroTZVector;
import org.apache.arrow.vector.TimeStampMilliTZVector;
import org.apache.arrow.vector.TimeStampNanoTZVector;
import org.apache.arrow.vector.TimeStampSecTZVector;
import org.apache.arrow.vector.TimeStampVector;
import org.apache.arrow.vector.UInt1Vector;
import org.apache.arrow.vector.UInt2Vector;
import org.apache.arrow.vector.UInt4Vector;
import org.apache.arrow.vector.UInt8Vector;
import org.apache.arrow.vector.complex.BaseRepeatedValueVector;
import org.apache.arrow.vector.complex.DenseUnionVector;
import org.apache.arrow.vector.complex.FixedSizeListVector;
import org.apache.arrow.vector.complex.MapVector;
import org.apache.arrow.vector.complex.StructVector;
import org.apache.arrow.vector.complex.UnionVector;
import org.apache.arrow.vector.util.Text;

/** Values of Arrow vectors, in the form in which the wire suite tells them (tests/wire/client.py). */
final class Cells {
    private Cells() {}

    static Object of(FieldVector vector, int row) throws SQLException {
        if (vector instanceof DenseUnionVector) {
            DenseUnionVector union = (DenseUnionVector) vector;
            return of((FieldVector) union.getVectorByType(union.getTypeId(row)), union.getOffset(row));
        }
        if (vector instanceof UnionVector) {
            return of((FieldVector) ((UnionVector) vector).getVector(row), row);
        }
        if (vector.isNull(row)) {
            return null;
        }
        if (vector instanceof StructVector) {
            return struct(vector.getChildrenFromFields(), row);
        }
        if (vector instanceof MapVector) {
            return map((MapVector) vector, row);
        }
        if (vector instanceof BaseRepeatedValueVector) {
            BaseRepeatedValueVector list = (BaseRepeatedValueVector) vector;
            return list(list.getDataVector(), list.getElementStartIndex(row), list.getElementEndIndex(row));
        }
        if (vector instanceof FixedSizeListVector) {
            FixedSizeListVector list = (FixedSizeListVector) vector;
            return list(list.getDataVector(), list.getElementStartIndex(row), list.getElementEndIndex(row));
        }
        return flat(vector, row);
    }

    private static Map<String, Object> struct(List<FieldVector> children, int row) throws SQLException {
        Map<String, Object> members = new LinkedHashMap<>();
        for (FieldVector child : children) {
            members.put(child.getName(), of(child, row));
        }
        return members;
    }

    private static Map<String, Object> map(MapVector vector, int row) throws SQLException {
        List<FieldVector> entry = vector.getDataVector().getChildrenFromFields();
        Map<String, Object> members = new LinkedHashMap<>();
        for (int i = vector.getElementStartIndex(row); i < vector.getElementEndIndex(row); i++) {
            members.put(String.valueOf(of(entry.get(0), i)), of(entry.get(1), i));
        }
        return members;
    }

    private static List<Object> list(FieldVector data, int from, int to) throws SQLException {
        List<Object> members = new ArrayList<>();
        for (int i = from; i < to; i++) {
            members.add(of(data, i));
        }
        return members;
    }

    /** By getObject, where that tells the value; else by what the vector has for it. */
    private static Object flat(FieldVector vector, int row) throws SQLException {
        if (vector instanceof UInt1Vector) {
            return ((UInt1Vector) vector).getObjectNoOverflow(row);
        }
        if (vector instanceof UInt2Vector) {
            return (long) ((UInt2Vector) vector).get(row);
        }
        if (vector instanceof UInt4Vector) {
            return ((UInt4Vector) vector).getObjectNoOverflow(row);
        }
        if (vector instanceof UInt8Vector) { // not a text: it is no huge integer to whoever wrote it
            return new Whole(((UInt8Vector) vector).getObjectNoOverflow(row).toString());
        }
        if (vector instanceof DateDayVector) {
            return LocalDate.ofEpochDay(((DateDayVector) vector).get(row)).toString();
        }
        Object value = vector.getObject(row);
        if (value instanceof Text) {
            return value.toString();
        }
        long unit = unit(vector);
        if (unit == 0) {
            return Shown.of(value);
        }
        long count = vector instanceof TimeStampVector ? ((TimeStampVector) vector).get(row) : time(vector, row);
        return moment(count, unit, vector instanceof TimeStampVector);
    }

    /** Units in a second, of vectors whose objects do not tell the value; 0 for others. */
    private static long unit(FieldVector vector) {
        if (vector instanceof TimeStampSecTZVector || vector instanceof TimeSecVector) {
            return 1;
        }
        if (vector instanceof TimeStampMilliTZVector || vector instanceof TimeMilliVector) {
            return TimeUnit.SECONDS.toMillis(1);
        }
        if (vector instanceof TimeStampMicroTZVector || vector instanceof TimeMicroVector) {
            return TimeUnit.SECONDS.toMicros(1);
        }
        boolean nanos = vector instanceof TimeStampNanoTZVector || vector instanceof TimeNanoVector;
        return nanos ? TimeUnit.SECONDS.toNanos(1) : 0;
    }

    private static long time(FieldVector vector, int row) {
        if (vector instanceof TimeSecVector) {
            return ((TimeSecVector) vector).get(row);
        }
        if (vector instanceof TimeMilliVector) {
            return ((TimeMilliVector) vector).get(row);
        }
        return vector instanceof TimeMicroVector
                ? ((TimeMicroVector) vector).get(row)
                : ((TimeNanoVector) vector).get(row);
    }

    private static String moment(long count, long unit, boolean instant) {
        long nanos = Math.floorMod(count, unit) * (TimeUnit.SECONDS.toNanos(1) / unit);
        long seconds = Math.floorDiv(count, unit);
        if (instant) {
            return Shown.instant(Instant.ofEpochSecond(seconds, nanos));
        }
        long day = TimeUnit.DAYS.toSeconds(1); // 24:00:00 is a time of SQL and not one of Java
        return seconds == day ? "24:00:00" : Shown.time(LocalTime.ofNanoOfDay(seconds * 1_000_000_000L + nanos));
    }

    /** A whole number of any size, written as JSON writes it. */
    private static final class Whole extends Number {
        private static final long serialVersionUID = 1;

        private final String digits;

        Whole(String digits) {
            this.digits = digits;
        }

        @Override
        public String toString() {
            return digits;
        }

        @Override
        public int intValue() {
            return (int) longValue();
        }

        @Override
        public long longValue() {
            return Long.parseUnsignedLong(digits);
        }

        @Override
        public float floatValue() {
            return longValue();
        }

        @Override
        public double doubleValue() {
            return longValue();
        }
    }
}
