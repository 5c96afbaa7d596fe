//! Types: what SQL calls them, what tables keep, and which of them turn into which without loss.

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::sql::sqlparser::ast::{DataType as SqlType, ExactNumberInfo};
use thermocline_schemas::table::timestamp_type;

/// A nullable column of text.
pub(super) fn text_field(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

/// The type of a declared column, as tables keep it: every timestamp is µs UTC.
///
/// # Errors
/// The way out, for a type that tables do not take, or that says more of its values than anybody would check.
pub(super) fn declared(sql: &SqlType) -> Result<DataType, String> {
    let instead = |other: &str| Err(format!("nothing would hold values to it: write {other}"));
    Ok(match sql {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::Int(None) | SqlType::Integer(None) | SqlType::Int4(None) => DataType::Int32,
        SqlType::BigInt(None) | SqlType::Int8(None) => DataType::Int64,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => return instead("INT"),
        SqlType::BigInt(_) | SqlType::Int8(_) => return instead("BIGINT"),
        SqlType::TinyInt(_) | SqlType::SmallInt(_) | SqlType::Int2(_) => return instead("INT"),
        SqlType::TinyIntUnsigned(_) | SqlType::SmallIntUnsigned(_) | SqlType::Int2Unsigned(_) => return instead("INT"),
        SqlType::IntUnsigned(_) | SqlType::IntegerUnsigned(_) | SqlType::Int4Unsigned(_) => return instead("BIGINT"),
        SqlType::BigIntUnsigned(_) | SqlType::Int8Unsigned(_) => return instead("DECIMAL(20, 0)"),
        SqlType::Float(ExactNumberInfo::None | ExactNumberInfo::Precision(1..=24)) => DataType::Float32,
        SqlType::Float(ExactNumberInfo::Precision(25..=53)) => DataType::Float64,
        SqlType::Float(_) => return instead("REAL or DOUBLE, or DECIMAL for exact digits"),
        SqlType::Real | SqlType::Float4 => DataType::Float32,
        SqlType::Double(ExactNumberInfo::None) | SqlType::DoublePrecision | SqlType::Float8 => DataType::Float64,
        SqlType::Double(_) => return instead("DOUBLE, or DECIMAL for exact digits"),
        SqlType::Decimal(info) | SqlType::Numeric(info) | SqlType::Dec(info) => return decimal(info),
        SqlType::Text | SqlType::Varchar(None) | SqlType::String(None) | SqlType::CharacterVarying(None) => {
            DataType::Utf8
        }
        SqlType::Varchar(_) | SqlType::String(_) | SqlType::CharacterVarying(_) => return instead("TEXT"),
        SqlType::Char(_) | SqlType::Character(_) => return instead("TEXT"),
        SqlType::Date => DataType::Date32,
        SqlType::Timestamp(None | Some(6), _) | SqlType::Datetime(None | Some(6)) => timestamp_type(),
        SqlType::Timestamp(..) | SqlType::Datetime(_) => {
            return Err("times are kept to the microsecond: write TIMESTAMP".to_owned());
        }
        SqlType::Bytea => DataType::Binary,
        SqlType::Time(..) | SqlType::Interval { .. } => {
            return Err("declare it TEXT, and cast it where it is used".to_owned());
        }
        SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(..) | SqlType::Tuple(_) | SqlType::Nested(_) => {
            return Err("tables keep no nested columns; declare the source without columns, and what is nested stays \
                        in `attributes` as JSON"
                .to_owned());
        }
        SqlType::JSON | SqlType::JSONB => return Err("declare it TEXT".to_owned()),
        _ => return Err(format!("tables keep {KEPT}")),
    })
}

/// What tables keep, as SQL calls it.
const KEPT: &str = "TEXT, INT, BIGINT, REAL, DOUBLE, DECIMAL, BOOLEAN, DATE, TIMESTAMP and BYTEA";

fn decimal(info: &ExactNumberInfo) -> Result<DataType, String> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) if scale >= 0 && scale.unsigned_abs() <= precision => {
            Ok(DataType::Decimal128(precision, scale))
        }
        _ => Err("a DECIMAL has 1 to 38 digits, and at most as many of them behind the point".to_owned()),
    }
}

/// The type in which a table keeps values of `from`, none where it does not. The change loses nothing, except that
/// times are kept to the µs.
pub(super) fn kept(from: &DataType) -> Option<DataType> {
    Some(match from {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::Int64 | DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 | DataType::Float32 => DataType::Float32,
        DataType::Float64 => DataType::Float64,
        DataType::Boolean => DataType::Boolean,
        DataType::Date32 => DataType::Date32,
        DataType::Date64 | DataType::Timestamp(..) => timestamp_type(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
            if *scale >= 0 =>
        {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Dictionary(_, values) => return kept(values),
        _ => return None,
    })
}

/// Decimal digits before the point that every value of an integer type fits into.
fn integer_digits(of: &DataType) -> Option<u8> {
    Some(match of {
        DataType::Int8 | DataType::UInt8 => 3,
        DataType::Int16 | DataType::UInt16 => 5,
        DataType::Int32 | DataType::UInt32 => 10,
        DataType::Int64 => 19,
        DataType::UInt64 => 20,
        _ => return None,
    })
}

/// True when every value of `from` can be kept in a column of type `to`, a type that tables keep: numbers exactly,
/// times to the µs, and anything plain as its text.
pub(super) fn fits(from: &DataType, to: &DataType) -> bool {
    let Some(from) = kept(from) else { return *from == DataType::Null };
    match (&from, to) {
        (from, to) if from == to => true,
        (DataType::Binary, DataType::Utf8) => false,
        (_, DataType::Utf8) => true,
        (DataType::Int32, DataType::Int64 | DataType::Float64) => true,
        (DataType::Float32, DataType::Float64) => true,
        (DataType::Date32, DataType::Timestamp(TimeUnit::Microsecond, _)) => true,
        (from, DataType::Decimal128(precision, scale)) if integer_digits(from).is_some() => {
            integer_digits(from).is_some_and(|digits| i16::from(digits) <= i16::from(*precision) - i16::from(*scale))
        }
        (DataType::Decimal128(digits, places), DataType::Decimal128(precision, scale)) => {
            places <= scale && i16::from(*digits) - i16::from(*places) <= i16::from(*precision) - i16::from(*scale)
        }
        _ => false,
    }
}

/// What SQL calls a type.
pub(super) fn name(of: &DataType) -> String {
    match of {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "TEXT".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP".to_owned(),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => "BYTEA".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Null => "NULL".to_owned(),
        DataType::Interval(_) => "INTERVAL".to_owned(),
        other => other.to_string(),
    }
}

/// True when a table can have a column of this name on every disk: letters, digits and `_`.
pub(super) fn is_column_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_has_the_bits_that_it_asks_for() {
        let float = |digits| declared(&SqlType::Float(ExactNumberInfo::Precision(digits)));
        assert_eq!((float(24), float(25)), (Ok(DataType::Float32), Ok(DataType::Float64)));
        assert_eq!(float(53), Ok(DataType::Float64));
        assert!(float(54).is_err() && float(0).is_err());
        assert_eq!(declared(&SqlType::Float(ExactNumberInfo::None)), Ok(DataType::Float32));
    }

    #[test]
    fn what_fits_loses_nothing() {
        use DataType::{
            Binary, Boolean, Date32, Decimal128, Float32, Float64, Int8, Int32, Int64, UInt64, Utf8, Utf8View,
        };
        let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
        for (from, to) in [
            (Int8, Int32),
            (Int32, Int64),
            (Int32, Float64),
            (Float32, Float64),
            (UInt64, Decimal128(20, 0)),
            (Int64, Decimal128(22, 3)),
            (Utf8View, Utf8),
            (Int64, Utf8),
            (Boolean, Utf8),
            (nanoseconds, timestamp_type()),
            (Decimal128(10, 2), Decimal128(12, 4)),
            (Date32, timestamp_type()),
            (DataType::Null, Int64),
        ] {
            assert!(fits(&from, &to), "{from} into {to}");
        }
        for (from, to) in [
            (Int64, Int32),
            (Int64, Float64),
            (Int32, Float32),
            (Float64, Float32),
            (Utf8, Int64),
            (UInt64, Int64),
            (Int64, Decimal128(20, 2)),
            (Decimal128(10, 4), Decimal128(10, 2)),
            (Binary, Utf8),
            (Utf8, timestamp_type()),
            (DataType::new_list(Int64, true), Utf8),
            (Float64, Int64),
            (Int64, Boolean),
        ] {
            assert!(!fits(&from, &to), "{from} into {to}");
        }
    }
}
