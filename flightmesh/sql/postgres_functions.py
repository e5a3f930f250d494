"""DuckDB's functions and operators in PostgreSQL's words: one row of a table for each that is proven equal.

A function takes its arguments as typed operands and answers with one. What is not in the tables is not pushed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flightmesh.names import fold
from flightmesh.sql.postgres_values import (
    Value,
    by_bytes,
    cast,
    compared,
    convert,
    order_key,
    quoted,
    to_double,
    type_name,
    united,
)
from flightmesh.sql.pushable import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    HUGEINT,
    INTEGER,
    INTEGERS,
    INTERVAL,
    NULL,
    OTHER,
    TIMESTAMP,
    VARCHAR,
    NotPushed,
    Type,
    as_decimal,
    common_type,
    is_exact,
    is_numeric,
)

Arguments = Sequence[Value]

# Of DATE and TIMESTAMP alone: those of an instant depend on the session's time zone.
_PARTS = {
    "year": "year",
    "quarter": "quarter",
    "month": "month",
    "day": "day",
    "dayofmonth": "day",
    "hour": "hour",
    "minute": "minute",
    "dow": "dow",
    "dayofweek": "dow",
    "weekday": "dow",
    "isodow": "isodow",
    "doy": "doy",
    "dayofyear": "doy",
}
_TRUNCATED = frozenset({"year", "quarter", "month", "day", "hour", "minute", "second"})
# Fields of an interval by the function that makes one; one field each, so that nothing carries over.
INTERVALS = {
    "to_years": "years",
    "to_months": "months",
    "to_weeks": "weeks",
    "to_days": "days",
    "to_hours": "hours",
    "to_minutes": "minutes",
}
_LENGTH_MAX = 1_000_000


def interval(name: str, count: int) -> Value:
    """A constant interval of one field."""
    return Value(f"CAST({quoted(f'{count} {INTERVALS[name]}')} AS interval)", INTERVAL)


def call(name: str, arguments: Arguments) -> Value:
    """The operator or function in the database's words; NotPushed when it has no proven equal."""
    function = _FUNCTIONS.get((fold(name), len(arguments))) or _FUNCTIONS.get((fold(name), None))
    if function is None:
        raise NotPushed(f"{name} has no proven equal in postgres")
    return function(arguments)


def _refuse(name: str, arguments: Arguments) -> NotPushed:
    types = " and ".join(str(argument.type) for argument in arguments)
    return NotPushed(f"{name} of {types} has no proven equal in postgres")


# --- Arithmetic -------------------------------------------------------------------------------------------------------


def _arithmetic(sign: str) -> Callable[[Arguments], Value]:
    def apply(arguments: Arguments) -> Value:
        left, right = arguments
        if not (is_numeric(left.type) and is_numeric(right.type)):
            return _moments(sign, left, right)
        if FLOAT in (left.type, right.type):
            raise _refuse(sign, arguments)
        if DOUBLE in (left.type, right.type):
            return Value(f"({to_double(left)} {sign} {to_double(right)})", DOUBLE)
        if left.type in INTEGERS and right.type in INTEGERS:
            type_, _ = common_type([left.type, right.type], [left.integer, right.integer])
            return Value(f"({convert(left, type_)} {sign} {convert(right, type_)})", type_)
        type_ = _decimal(sign, left, right)
        return Value(f"({convert(left, type_)} {sign} {convert(right, type_)})", type_)

    return apply


def _decimal(sign: str, left: Value, right: Value) -> Type:
    """The scale is DuckDB's; the width is at least DuckDB's, which raises where it does not suffice."""
    one, other = as_decimal(left.type, left.integer), as_decimal(right.type, right.integer)
    if sign == "*":
        if one.scale + other.scale > 38:
            raise NotPushed("a product of decimals needs more than 38 digits")
        return Type("DECIMAL", min(38, one.width + other.width), one.scale + other.scale)
    scale = max(one.scale, other.scale)
    whole = max(one.width - one.scale, other.width - other.scale)
    return Type("DECIMAL", min(38, whole + scale + 1), scale)


def _moments(sign: str, left: Value, right: Value) -> Value:
    if left.type == DATE and right.type in INTEGERS[:2] and sign in "+-":
        return Value(f"({left.text} {sign} {convert(right, INTEGER)})", DATE)
    if (left.type, right.type, sign) == (DATE, DATE, "-"):
        return Value(f"CAST(({left.text} - {right.text}) AS bigint)", BIGINT)
    if left.type in (DATE, TIMESTAMP) and right.type == INTERVAL and sign in "+-":
        return Value(f"({convert(left, TIMESTAMP)} {sign} {right.text})", TIMESTAMP)
    if right.type in (DATE, TIMESTAMP) and left.type == INTERVAL and sign == "+":
        return Value(f"({convert(right, TIMESTAMP)} + {left.text})", TIMESTAMP)
    raise _refuse(sign, (left, right))


def _divide(arguments: Arguments) -> Value:
    """Division of doubles, of which a zero divisor makes an infinity or NaN."""
    left, right = arguments
    if FLOAT in (left.type, right.type):
        raise _refuse("/", arguments)
    dividend, divisor = to_double(left), to_double(right)
    if right.integer:
        return Value(f"({dividend} / {divisor})", DOUBLE)
    infinity = "CAST('Infinity' AS double precision)"
    if right.type == DOUBLE:
        infinity = f"(CASE WHEN CAST({divisor} AS text) = '-0' THEN -{infinity} ELSE {infinity} END)"
    quotient = f"CASE WHEN {divisor} = 0 THEN {dividend} * {infinity} ELSE {dividend} / {divisor} END"
    return Value(f"({quotient})", DOUBLE)


def _whole(name: str, sign: str) -> Callable[[Arguments], Value]:
    """Division of integers towards zero, and its remainder."""

    def apply(arguments: Arguments) -> Value:
        left, right = arguments
        if left.type not in INTEGERS[:3] or right.type not in INTEGERS[:3]:
            raise _refuse(name, arguments)
        type_, _ = common_type([left.type, right.type], [left.integer, right.integer])
        return Value(f"({convert(left, type_)} {sign} {convert(right, type_)})", type_)

    return apply


def _minus(arguments: Arguments) -> Value:
    (value,) = arguments
    if not (is_exact(value.type) or value.type == DOUBLE):
        raise _refuse("-", arguments)
    return Value(f"(- {value.text})", value.type)


def _absolute(arguments: Arguments) -> Value:
    (value,) = arguments
    if not (is_exact(value.type) or value.type == DOUBLE):
        raise _refuse("abs", arguments)
    return Value(f"abs({value.text})", value.type)


def _round(arguments: Arguments) -> Value:
    value, digits = arguments[0], 0 if len(arguments) == 1 else arguments[1].integer
    if value.type.kind != "DECIMAL" or digits is None or digits < 0:
        raise _refuse("round", arguments)
    scale = min(digits, value.type.scale)
    return Value(f"round({value.text}, {scale})", Type("DECIMAL", value.type.width, scale))


def _step(name: str) -> Callable[[Arguments], Value]:
    """floor and ceil."""

    def apply(arguments: Arguments) -> Value:
        (value,) = arguments
        if value.type.kind == "DECIMAL":
            return Value(f"{name}({value.text})", Type("DECIMAL", value.type.width, 0))
        if value.type == DOUBLE or value.type in INTEGERS[:3]:
            return Value(f"{name}({to_double(value)})", DOUBLE)
        raise _refuse(name, arguments)

    return apply


def _extreme(name: str) -> Callable[[Arguments], Value]:
    """greatest and least, which pass over NULL in both."""

    def apply(arguments: Arguments) -> Value:
        texts, type_ = united(arguments)
        if type_ == VARCHAR:
            texts = [by_bytes(text) for text in texts]
        elif not is_exact(type_) and type_ not in (DATE, TIMESTAMP):
            raise _refuse(name, arguments)
        return Value(f"{name}({', '.join(texts)})", type_)

    return apply


# --- NULL -------------------------------------------------------------------------------------------------------------


def coalesce(arguments: Arguments) -> Value:
    texts, type_ = united(arguments)
    return Value(f"COALESCE({', '.join(texts)})", type_)


def _nullif(arguments: Arguments) -> Value:
    left, right = compared(arguments, is_order=False)
    value = arguments[0]
    null = convert(Value("NULL", NULL), value.type)
    return Value(f"(CASE WHEN {left} = {right} THEN {null} ELSE {value.text} END)", value.type)


# --- Text -------------------------------------------------------------------------------------------------------------


def _text(name: str, template: str, result: Type) -> Callable[[Arguments], Value]:
    """A function of texts alone."""

    def apply(arguments: Arguments) -> Value:
        if any(argument.type not in (VARCHAR, NULL) for argument in arguments):
            raise _refuse(name, arguments)
        texts = [by_bytes(convert(argument, VARCHAR)) for argument in arguments]
        return Value(template.format(*texts), result)

    return apply


def _substring(arguments: Arguments) -> Value:
    """Characters from a constant place on, counted from 1: DuckDB counts others from the end."""
    text, start = arguments[0], arguments[1].integer
    length = arguments[2].integer if len(arguments) == 3 else _LENGTH_MAX
    if text.type != VARCHAR or start is None or length is None or start < 1 or not 0 <= length <= _LENGTH_MAX:
        raise _refuse("substring", arguments)
    size = "" if len(arguments) == 2 else f", {length}"
    return Value(f"substr({text.text}, {start}{size})", VARCHAR)


def _end(name: str) -> Callable[[Arguments], Value]:
    """left and right of a constant number of characters."""

    def apply(arguments: Arguments) -> Value:
        text, length = arguments[0], arguments[1].integer
        if text.type != VARCHAR or length is None or not 0 <= length <= _LENGTH_MAX:
            raise _refuse(name, arguments)
        return Value(f'"{name}"({text.text}, {length})', VARCHAR)

    return apply


def _like(*, is_negated: bool) -> Callable[[Arguments], Value]:
    """LIKE: DuckDB has no escape character unless one is written."""

    def apply(arguments: Arguments) -> Value:
        if any(argument.type != VARCHAR for argument in arguments):
            raise _refuse("LIKE", arguments)
        escape = "" if len(arguments) == 2 else arguments[2].string
        if escape is None or len(escape) != len(arguments) - 2:
            raise NotPushed("LIKE has an escape that is not one constant character")
        negation = "NOT " if is_negated else ""
        value, pattern = arguments[0].text, arguments[1].text
        return Value(f"({value} {negation}LIKE {pattern} ESCAPE {quoted(escape)})", BOOLEAN)

    return apply


# --- Dates ------------------------------------------------------------------------------------------------------------


def _part_of(part: str, moment: Value) -> Value:
    field = _PARTS.get(fold(part))
    if field is None or moment.type not in (DATE, TIMESTAMP):
        raise NotPushed(f"{fold(part)} of {moment.type} has no proven equal in postgres")
    found = f"extract({field} FROM {moment.text})"
    if field == "year":
        # The year before 1 is 0 to DuckDB and -1 to PostgreSQL.
        found = f"({found} + CASE WHEN {found} < 0 THEN 1 ELSE 0 END)"
    return Value(f"CAST({found} AS bigint)", BIGINT)


def _date_part(arguments: Arguments) -> Value:
    return _part_of(arguments[0].string or "a part that is no constant", arguments[1])


def _named_part(part: str) -> Callable[[Arguments], Value]:
    return lambda arguments: _part_of(part, arguments[0])


def _date_trunc(arguments: Arguments) -> Value:
    part, moment = fold(arguments[0].string or ""), arguments[1]
    if part not in _TRUNCATED or moment.type not in (DATE, TIMESTAMP):
        raise NotPushed(f"date_trunc('{part}') of {moment.type} has no proven equal in postgres")
    return Value(f"date_trunc({quoted(part)}, {convert(moment, TIMESTAMP)})", TIMESTAMP)


_FUNCTIONS: Mapping[tuple[str, int | None], Callable[[Arguments], Value]] = {
    ("+", 2): _arithmetic("+"),
    ("-", 2): _arithmetic("-"),
    ("*", 2): _arithmetic("*"),
    ("/", 2): _divide,
    ("//", 2): _whole("//", "/"),
    ("%", 2): _whole("%", "%"),
    ("mod", 2): _whole("mod", "%"),
    ("-", 1): _minus,
    ("abs", 1): _absolute,
    ("@", 1): _absolute,
    ("round", 1): _round,
    ("round", 2): _round,
    ("floor", 1): _step("floor"),
    ("ceil", 1): _step("ceil"),
    ("ceiling", 1): _step("ceil"),
    ("greatest", None): _extreme("greatest"),
    ("least", None): _extreme("least"),
    ("ifnull", 2): coalesce,
    ("coalesce", None): coalesce,
    ("nullif", 2): _nullif,
    ("||", 2): _text("||", "({} || {})", VARCHAR),
    ("length", 1): _text("length", "CAST(char_length({}) AS bigint)", BIGINT),
    ("len", 1): _text("len", "CAST(char_length({}) AS bigint)", BIGINT),
    ("char_length", 1): _text("char_length", "CAST(char_length({}) AS bigint)", BIGINT),
    ("strlen", 1): _text("strlen", "CAST(octet_length(convert_to({}, 'UTF8')) AS bigint)", BIGINT),
    ("replace", 3): _text("replace", "replace({}, {}, {})", VARCHAR),
    ("starts_with", 2): _text("starts_with", "starts_with({}, {})", BOOLEAN),
    ("prefix", 2): _text("prefix", "starts_with({}, {})", BOOLEAN),
    ("^@", 2): _text("^@", "starts_with({}, {})", BOOLEAN),
    ("contains", 2): _text("contains", "(strpos({}, {}) > 0)", BOOLEAN),
    ("strpos", 2): _text("strpos", "CAST(strpos({}, {}) AS bigint)", BIGINT),
    ("instr", 2): _text("instr", "CAST(strpos({}, {}) AS bigint)", BIGINT),
    ("substring", 2): _substring,
    ("substring", 3): _substring,
    ("substr", 2): _substring,
    ("substr", 3): _substring,
    ("left", 2): _end("left"),
    ("right", 2): _end("right"),
    ("~~", 2): _like(is_negated=False),
    ("!~~", 2): _like(is_negated=True),
    ("like_escape", 3): _like(is_negated=False),
    ("not_like_escape", 3): _like(is_negated=True),
    ("date_part", 2): _date_part,
    ("datepart", 2): _date_part,
    ("date_trunc", 2): _date_trunc,
    ("datetrunc", 2): _date_trunc,
} | {(name, 1): _named_part(name) for name in _PARTS if name not in ("dow", "doy")}


# --- Aggregates -------------------------------------------------------------------------------------------------------


def aggregate(name: str, arguments: Arguments, *, is_distinct: bool, tail: str) -> Value:
    """The aggregate, or window over it, with ``tail`` (FILTER, OVER) after each call that it takes."""
    function = _AGGREGATES.get((fold(name), len(arguments)))
    if function is None:
        raise NotPushed(f"{name} has no proven equal in postgres")
    if is_distinct and any(argument.type == OTHER for argument in arguments):
        raise NotPushed("DISTINCT is over a column of a type that is not known here")
    distinct = "DISTINCT " if is_distinct else ""
    return function(lambda called, argument: f"{called}({distinct}{argument}){tail}", arguments)


_Call = Callable[[str, str], str]


def _count(call: _Call, arguments: Arguments) -> Value:
    return Value(call("count", arguments[0].text if arguments else "*"), BIGINT)


def _count_if(call: _Call, arguments: Arguments) -> Value:
    if arguments[0].type != BOOLEAN:
        raise _refuse("count_if", arguments)
    # A sum, and so NULL over no rows and over nothing but NULL.
    text = f"CAST({arguments[0].text} AS integer)"
    return Value(f"CAST({call('sum', text)} AS numeric)", HUGEINT)


def _sum(call: _Call, arguments: Arguments) -> Value:
    (value,) = arguments
    if value.type in INTEGERS:
        return Value(f"CAST({call('sum', value.text)} AS numeric)", HUGEINT)
    if value.type.kind == "DECIMAL":
        return Value(call("sum", value.text), Type("DECIMAL", 38, value.type.scale))
    if value.type in (DOUBLE, FLOAT):
        return Value(call("sum", to_double(value)), DOUBLE)
    raise _refuse("sum", arguments)


def _avg(call: _Call, arguments: Arguments) -> Value:
    (value,) = arguments
    if value.type in (DOUBLE, FLOAT):
        return Value(call("avg", to_double(value)), DOUBLE)
    total = to_double(_sum(call, arguments))
    return Value(f"({total} / CAST({call('count', value.text)} AS double precision))", DOUBLE)


def _bound(name: str) -> Callable[[_Call, Arguments], Value]:
    """min and max."""

    def apply(call: _Call, arguments: Arguments) -> Value:
        (value,) = arguments
        if value.type == BOOLEAN:
            raise _refuse(name, arguments)
        found = call(name, order_key(value))
        # Named again, so that it may stand beside a column of whatever collation.
        return Value(f'({found} COLLATE "default")' if value.type == VARCHAR else found, value.type)

    return apply


def _boolean(name: str) -> Callable[[_Call, Arguments], Value]:
    def apply(call: _Call, arguments: Arguments) -> Value:
        if arguments[0].type != BOOLEAN:
            raise _refuse(name, arguments)
        return Value(call(name, arguments[0].text), BOOLEAN)

    return apply


_AGGREGATES: Mapping[tuple[str, int], Callable[[_Call, Arguments], Value]] = {
    ("count_star", 0): _count,
    ("count", 0): _count,
    ("count", 1): _count,
    ("count_if", 1): _count_if,
    ("countif", 1): _count_if,
    ("sum", 1): _sum,
    ("avg", 1): _avg,
    ("mean", 1): _avg,
    ("min", 1): _bound("min"),
    ("max", 1): _bound("max"),
    ("bool_and", 1): _boolean("bool_and"),
    ("bool_or", 1): _boolean("bool_or"),
}


# --- Windows ----------------------------------------------------------------------------------------------------------


def ranking(name: str, over: str) -> Value | None:
    """A window function without arguments, or None when it is none of those known."""
    return Value(f"{name}(){over}", BIGINT) if name in ("row_number", "rank", "dense_rank") else None


def neighbour(name: str, arguments: Arguments, over: str) -> Value:
    """lag and lead by a constant number of rows."""
    value = arguments[0]
    offset = 1 if len(arguments) < 2 else arguments[1].integer
    if offset is None or not 0 <= offset <= _LENGTH_MAX or value.type == NULL:
        raise _refuse(name, arguments)
    default = convert(Value("NULL", NULL), value.type)
    if len(arguments) == 3:
        default = cast(arguments[2], value.type).text
    text = f"CAST({value.text} AS {type_name(value.type)})"
    return Value(f"{name}({text}, {offset}, {default}){over}", value.type)
