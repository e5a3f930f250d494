"""Punctuality and flying time per route and carrier: the model behind the port ``route_performance``.

Reads the wide table ``flights`` and must stay lazy: no collect, no I/O.
"""

from __future__ import annotations

import polars as pl

KEY = ("origin", "dest", "carrier")


def build(flights: pl.LazyFrame) -> pl.LazyFrame:
    """One row per origin, destination and carrier, in key order.

    Delays and flying times are minutes, distances miles. Means and quantiles leave out flights without a value; a route
    on which no flight has one gets NULL. The 90th percentile interpolates linearly between the two nearest flights.
    """
    return (
        flights.group_by(KEY)
        .agg(
            pl.col("carrier_name").first(),
            pl.col("origin_name").first(),
            pl.col("dest_name").first(),
            _count(pl.len()).alias("flights"),
            _count(pl.col("cancelled").sum()).alias("cancelled"),
            _count(pl.col("arr_delay").count()).alias("arrived"),
            # Two routes to EGE changed by a mile during the year, hence the mean.
            pl.col("distance").mean().alias("distance_mean"),
            pl.col("air_time").mean().alias("air_time_mean"),
            pl.col("arr_delay").mean().alias("arr_delay_mean"),
            pl.col("arr_delay").median().alias("arr_delay_median"),
            pl.col("arr_delay").quantile(0.9, interpolation="linear").alias("arr_delay_p90"),
        )
        .sort(KEY)
    )


def _count(expression: pl.Expr) -> pl.Expr:
    """The count as a signed 64 bit integer, as SQL counts: unsigned ones wrap when subtracted."""
    return expression.cast(pl.Int64)
