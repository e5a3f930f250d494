"""Units that a column's name tells, and quantities whose unit it leaves open."""

from __future__ import annotations

import re

# The last part of a name to the unit; only where nothing else is usual.
_UNITS = {
    "kg": "kilograms", "kgs": "kilograms", "g": "grams", "mg": "milligrams", "lb": "pounds", "lbs": "pounds",
    "t": "tonnes", "km": "kilometres", "m": "metres", "cm": "centimetres", "mm": "millimetres", "mi": "miles",
    "miles": "miles", "ft": "feet", "feet": "feet", "inches": "inches", "nm": "nautical miles",
    "ns": "nanoseconds", "us": "microseconds", "ms": "milliseconds", "s": "seconds", "sec": "seconds",
    "secs": "seconds", "seconds": "seconds", "mins": "minutes", "minutes": "minutes", "hrs": "hours",
    "hours": "hours", "days": "days", "weeks": "weeks", "months": "months", "years": "years",
    "c": "degrees Celsius", "celsius": "degrees Celsius", "degc": "degrees Celsius", "f": "degrees Fahrenheit",
    "fahrenheit": "degrees Fahrenheit", "degf": "degrees Fahrenheit", "k": "kelvins", "kelvin": "kelvins",
    "deg": "degrees", "degrees": "degrees", "rad": "radians",
    "usd": "US dollars", "eur": "euros", "gbp": "pounds sterling", "chf": "Swiss francs", "jpy": "yen",
    "dkk": "Danish kroner", "sek": "Swedish kronor", "nok": "Norwegian kroner", "cents": "cents",
    "pct": "percent", "percent": "percent", "percentage": "percent", "bps": "basis points",
    "mph": "miles per hour", "kmh": "kilometres per hour", "kph": "kilometres per hour", "mps": "metres per second",
    "knots": "knots", "kts": "knots", "hpa": "hectopascals", "kpa": "kilopascals", "pa": "pascals",
    "mbar": "millibars", "bar": "bars", "psi": "pounds per square inch", "kwh": "kilowatt hours",
    "mwh": "megawatt hours", "kw": "kilowatts", "mw": "megawatts", "w": "watts", "v": "volts", "a": "amperes",
    "hz": "hertz", "khz": "kilohertz", "mhz": "megahertz", "l": "litres", "ml": "millilitres", "m2": "square metres",
    "sqm": "square metres", "m3": "cubic metres", "sqft": "square feet", "ha": "hectares",
    "bytes": "bytes", "kb": "kilobytes", "mb": "megabytes", "gb": "gigabytes", "tb": "terabytes",
}  # fmt: skip
# One or two letters tell a unit only of numbers that can have fractions: ``hemoglobin_a`` and ``plan_b`` may be ranks.
_SHORT_CHARS = 2
_QUANTITIES = {
    "temp": "a temperature", "temperature": "a temperature", "dist": "a distance", "distance": "a distance",
    "weight": "a weight", "mass": "a mass", "height": "a height", "length": "a length", "width": "a width",
    "depth": "a depth", "speed": "a speed", "velocity": "a speed", "pressure": "a pressure", "duration": "a duration",
    "elapsed": "a duration", "delay": "a delay", "amount": "an amount of money", "price": "a price", "cost": "a cost",
    "revenue": "an amount of money", "balance": "an amount of money", "salary": "an amount of money",
    "volume": "a volume", "area": "an area", "power": "a power", "energy": "an energy", "voltage": "a voltage",
}  # fmt: skip
_FRACTIONAL = ("DOUBLE", "FLOAT", "DECIMAL")
_NUMERIC = (*_FRACTIONAL, "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER")


def name_parts(name: str) -> list[str]:
    """The words of a name, lowered: ``customerId`` and ``customer_id`` are both customer, id."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [part for part in re.split(r"[^0-9a-z]+", spaced.lower()) if part]


def unit_of(name: str, sql_type: str) -> str | None:
    """The unit that the end of the column's name tells; None for no unit, or none that is certain enough."""
    parts = name_parts(name)
    if not sql_type.startswith(_NUMERIC) or len(parts) < 2:
        return None
    if len(parts[-1]) <= _SHORT_CHARS and parts[-1] not in ("kg", "km", "ms") and not sql_type.startswith(_FRACTIONAL):
        return None
    return _UNITS.get(parts[-1])


def quantity_of(name: str, sql_type: str) -> str | None:
    """What is measured (``a distance``), where the name tells that and not the unit."""
    if not sql_type.startswith(_NUMERIC):
        return None
    return next((_QUANTITIES[part] for part in reversed(name_parts(name)) if part in _QUANTITIES), None)
