#!/usr/bin/env python3
"""Reads every table of a data directory with somebody else's code, and prints what it found as JSON.

    check.py DATA_DIR

One object: "<tier>.<table>" to rows, checksum, and what the table says of itself. The checksum does not depend on the order
of rows: the sum, modulo 2^64, of a hash over each row's topic, partition, offset, ordinal, event time, attributes and all
other text columns by name. `sinks/src/read/fingerprint.rs` computes the same.
"""

import json
import pathlib
import sys

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

FIRST = ["_topic", "_partition", "_offset", "_ordinal", "event_time", "attributes"]
OTHER_SYSTEM_TEXT = {"_headers"}


def fingerprint(table: pa.Table, names: dict[str, str]) -> tuple[int, str]:
    """Rows and checksum of `table`, whose columns have the names on disk that `names` gives."""
    is_text = lambda field: pa.types.is_string(field.type) or pa.types.is_large_string(field.type) \
        or pa.types.is_string_view(field.type)
    others = sorted(
        logical for logical, disk in names.items()
        if logical not in FIRST and logical not in OTHER_SYSTEM_TEXT and is_text(table.schema.field(disk))
    )
    columns = []
    for logical in FIRST + others:
        column = table.column(names[logical])
        if logical == "event_time":
            column = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        columns.append(pc.cast(column, pa.large_string()).to_pylist())
    total = 0
    for row in zip(*columns):
        row = b"".join((b"\xff" if value is None else value.encode()) + b"\x1f" for value in row)
        total = (total + xxhash.xxh3_64_intdigest(row)) & 0xFFFF_FFFF_FFFF_FFFF
    return table.num_rows, f"{total:016x}"


def found(table: pa.Table, properties: dict[str, str]) -> dict:
    rows, checksum = fingerprint(table, json.loads(properties["thermocline.columns"]))
    return {"rows": rows, "checksum": checksum, "table": properties["thermocline.table"]}


def hot(root: pathlib.Path):
    import lance

    for folder in sorted((root / "hot").glob("*.lance")):
        dataset = lance.dataset(str(folder))
        properties = {key.decode(): value.decode() for key, value in (dataset.schema.metadata or {}).items()}
        columns = [name for name in dataset.schema.names if name != "_embedding"]
        yield f"hot.{properties['thermocline.table']}", found(dataset.to_table(columns=columns), properties)


def warm(root: pathlib.Path):
    from deltalake import DeltaTable

    for log in sorted((root / "warm").glob("*/_delta_log")):
        delta = DeltaTable(str(log.parent))
        properties = delta.metadata().configuration
        yield f"warm.{properties['thermocline.table']}", found(pa.table(delta.to_pyarrow_table()), properties)


def cold(root: pathlib.Path):
    from pyiceberg.catalog.sql import SqlCatalog

    database = root / "iceberg.db"
    if not database.exists():
        return
    catalog = SqlCatalog(
        "thermocline", uri=f"sqlite:///{database}", warehouse=f"file://{root / 'cold'}", init_catalog_tables="false"
    )
    for identifier in sorted(catalog.list_tables("thermocline")):
        table = catalog.load_table(identifier)
        yield f"cold.{table.properties['thermocline.table']}", found(table.scan().to_arrow(), table.properties)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    root = pathlib.Path(sys.argv[1]).resolve()
    tables = {}
    for tier in (hot, warm, cold):
        tables.update(tier(root))
    json.dump(tables, sys.stdout, indent=2, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
