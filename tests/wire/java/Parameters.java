import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.BitVector;
import org.apache.arrow.vector.DateDayVector;
import org.apache.arrow.vector.Decimal256Vector;
import org.apache.arrow.vector.DecimalVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.Float4Vector;
import org.apache.arrow.vector.Float8Vector;
import org.apache.arrow.vector.IntVector;
import org.apache.arrow.vector.SmallIntVector;
import org.apache.arrow.vector.TimeMicroVector;
import org.apache.arrow.vector.TimeStampMicroTZVector;
import org.apache.arrow.vector.TimeStampMicroVector;
import org.apache.arrow.vector.TimeStampMilliVector;
import org.apache.arrow.vector.TimeStampNanoVector;
import org.apache.arrow.vector.TimeStampSecVector;
import org.apache.arrow.vector.TinyIntVector;
import org.apache.arrow.vector.UInt1Vector;
import org.apache.arrow.vector.UInt2Vector;
import org.apache.arrow.vector.UInt4Vector;
import org.apache.arrow.vector.UInt8Vector;
import org.apache.arrow.vector.VarBinaryVector;
import org.apache.arrow.vector.VarCharVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.types.DateUnit;
import org.apache.arrow.vector.types.FloatingPointPrecision;
import org.apache.arrow.vector.types.TimeUnit;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.FieldType;

/**
 * Rows of [setter, text] as the vectors that FlightSqlClient binds: of the types that the server asked for, where the
 * values fit them, else of the values' own types, which the server then judges.
 */
final class Parameters {
    private Parameters() {}

    static VectorSchemaRoot rooted(List<Field> asked, List<?> rows, BufferAllocator allocator) {
        int columns = rows.isEmpty() ? 0 : ((List<?>) rows.get(0)).size();
        List<FieldVector> vectors = new ArrayList<>();
        for (int i = 0; i < columns; i++) {
            List<List<?>> values = new ArrayList<>();
            for (Object row : rows) {
                values.add((List<?>) ((List<?>) row).get(i));
            }
            Field field = i < asked.size() ? asked.get(i) : new Field("p" + i, FieldType.nullable(own(values)), null);
            vectors.add(vector(field, values, allocator));
        }
        VectorSchemaRoot root = new VectorSchemaRoot(vectors);
        root.setRowCount(rows.size());
        return root;
    }

    private static FieldVector vector(Field field, List<List<?>> values, BufferAllocator allocator) {
        FieldVector vector = field.createVector(allocator);
        try {
            fill(vector, values);
            return vector;
        } catch (IllegalArgumentException | ArithmeticException | UnsupportedOperationException other) {
            vector.close();
            FieldVector plain = new Field(field.getName(), FieldType.nullable(own(values)), null)
                    .createVector(allocator);
            fill(plain, values);
            return plain;
        }
    }

    private static void fill(FieldVector vector, List<List<?>> values) {
        vector.allocateNew();
        for (int row = 0; row < values.size(); row++) {
            String setter = (String) values.get(row).get(0);
            if (setter.equals("setNull")) {
                vector.setNull(row);
            } else {
                set(vector, row, setter, (String) values.get(row).get(1));
            }
        }
        vector.setValueCount(values.size());
    }

    /** The Arrow type of the first value that is not null. */
    private static ArrowType own(List<List<?>> values) {
        for (List<?> value : values) {
            switch ((String) value.get(0)) {
                case "setNull":
                    break;
                case "setBoolean":
                    return new ArrowType.Bool();
                case "setWhole":
                    return new ArrowType.Int(Long.SIZE, true);
                case "setReal":
                    return new ArrowType.FloatingPoint(FloatingPointPrecision.DOUBLE);
                case "setBigDecimal":
                    BigDecimal decimal = new BigDecimal((String) value.get(1));
                    return new ArrowType.Decimal(38, Math.max(0, decimal.scale()), 128);
                case "setBytes":
                    return new ArrowType.Binary();
                case "setDate":
                    return new ArrowType.Date(DateUnit.DAY);
                case "setTime":
                    return new ArrowType.Time(TimeUnit.MICROSECOND, Long.SIZE);
                case "setTimestamp":
                    return new ArrowType.Timestamp(TimeUnit.MICROSECOND, null);
                case "setInstant":
                    return new ArrowType.Timestamp(TimeUnit.MICROSECOND, "UTC");
                default:
                    return new ArrowType.Utf8();
            }
        }
        return new ArrowType.Utf8();
    }

    private static void set(FieldVector vector, int row, String setter, String text) {
        if (vector instanceof VarCharVector && setter.equals("setString")) {
            ((VarCharVector) vector).setSafe(row, text.getBytes(StandardCharsets.UTF_8));
        } else if (vector instanceof VarBinaryVector && setter.equals("setBytes")) {
            ((VarBinaryVector) vector).setSafe(row, HexFormat.of().parseHex(text));
        } else if (vector instanceof BitVector && setter.equals("setBoolean")) {
            ((BitVector) vector).setSafe(row, Boolean.parseBoolean(text) ? 1 : 0);
        } else if (setter.equals("setWhole") || setter.equals("setReal") || setter.equals("setBigDecimal")) {
            number(vector, row, text);
        } else if (vector instanceof DateDayVector && setter.equals("setDate")) {
            ((DateDayVector) vector).setSafe(row, (int) LocalDate.parse(text).toEpochDay());
        } else if (vector instanceof TimeMicroVector && setter.equals("setTime")) {
            ((TimeMicroVector) vector).setSafe(row, LocalTime.parse(text).toNanoOfDay() / 1000);
        } else if (vector instanceof TimeStampMicroTZVector && setter.equals("setInstant")) {
            ((TimeStampMicroTZVector) vector).setSafe(row, nanos(Instant.parse(text)).divide(THOUSAND).longValueExact());
        } else if (setter.equals("setTimestamp")) {
            timestamp(vector, row, nanos(LocalDateTime.parse(text).toInstant(ZoneOffset.UTC)));
        } else {
            throw new IllegalArgumentException(setter + " of a " + vector.getField());
        }
    }

    private static final BigInteger THOUSAND = BigInteger.valueOf(1000);

    private static BigInteger nanos(Instant instant) {
        return BigInteger.valueOf(instant.getEpochSecond())
                .multiply(BigInteger.valueOf(1_000_000_000))
                .add(BigInteger.valueOf(instant.getNano()));
    }

    private static void timestamp(FieldVector vector, int row, BigInteger nanos) {
        if (vector instanceof TimeStampNanoVector) {
            ((TimeStampNanoVector) vector).setSafe(row, nanos.longValueExact());
        } else if (vector instanceof TimeStampMicroVector) {
            ((TimeStampMicroVector) vector).setSafe(row, nanos.divide(THOUSAND).longValueExact());
        } else if (vector instanceof TimeStampMilliVector) {
            ((TimeStampMilliVector) vector).setSafe(row, nanos.divide(THOUSAND.pow(2)).longValueExact());
        } else if (vector instanceof TimeStampSecVector) {
            ((TimeStampSecVector) vector).setSafe(row, nanos.divide(THOUSAND.pow(3)).longValueExact());
        } else {
            throw new IllegalArgumentException("a timestamp into " + vector.getField());
        }
    }

    /** Errors: ArithmeticException or IllegalArgumentException for a number that the type cannot hold. */
    private static void number(FieldVector vector, int row, String text) {
        if (vector instanceof Float8Vector) {
            ((Float8Vector) vector).setSafe(row, Double.parseDouble(text));
        } else if (vector instanceof Float4Vector) {
            ((Float4Vector) vector).setSafe(row, Float.parseFloat(text));
        } else if (vector instanceof DecimalVector) {
            int scale = ((DecimalVector) vector).getScale();
            ((DecimalVector) vector).setSafe(row, new BigDecimal(text).setScale(scale, RoundingMode.UNNECESSARY));
        } else if (vector instanceof Decimal256Vector) {
            int scale = ((Decimal256Vector) vector).getScale();
            ((Decimal256Vector) vector).setSafe(row, new BigDecimal(text).setScale(scale, RoundingMode.UNNECESSARY));
        } else {
            whole(vector, row, new BigDecimal(text));
        }
    }

    private static void whole(FieldVector vector, int row, BigDecimal value) {
        if (vector instanceof BigIntVector) {
            ((BigIntVector) vector).setSafe(row, value.longValueExact());
        } else if (vector instanceof IntVector) {
            ((IntVector) vector).setSafe(row, value.intValueExact());
        } else if (vector instanceof SmallIntVector) {
            ((SmallIntVector) vector).setSafe(row, value.shortValueExact());
        } else if (vector instanceof TinyIntVector) {
            ((TinyIntVector) vector).setSafe(row, value.byteValueExact());
        } else if (vector instanceof UInt8Vector) {
            ((UInt8Vector) vector).setSafe(row, unsigned(value, Long.SIZE));
        } else if (vector instanceof UInt4Vector) {
            ((UInt4Vector) vector).setSafe(row, (int) unsigned(value, Integer.SIZE));
        } else if (vector instanceof UInt2Vector) {
            ((UInt2Vector) vector).setSafe(row, (int) unsigned(value, Short.SIZE));
        } else if (vector instanceof UInt1Vector) {
            ((UInt1Vector) vector).setSafe(row, (int) unsigned(value, Byte.SIZE));
        } else {
            throw new IllegalArgumentException("a number into " + vector.getField());
        }
    }

    private static long unsigned(BigDecimal value, int bits) {
        BigInteger whole = value.toBigIntegerExact();
        if (whole.signum() < 0 || whole.bitLength() > bits) {
            throw new ArithmeticException(whole + " is no unsigned number of " + bits + " bits");
        }
        return whole.longValue();
    }
}
