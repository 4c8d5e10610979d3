//! A table as JSON objects, one a row.

use arrow::array::{
    Array, BooleanArray, Float64Array, Int32Array, LargeStringArray, RecordBatch, StringArray,
    UInt32Array, UInt64Array,
};
use serde_json::{Map, Value};

/// The rows of a table; an absent value is `null`.
///
/// Integers above 2^53 stay integers; readers that know only floating point lose digits.
#[must_use]
pub fn rows(batch: &RecordBatch) -> Vec<Value> {
    let schema = batch.schema();
    let mut rows = vec![Map::new(); batch.num_rows()];
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        for (index, row) in rows.iter_mut().enumerate() {
            row.insert(field.name().clone(), value(column.as_ref(), index));
        }
    }
    rows.into_iter().map(Value::Object).collect()
}

fn value(column: &dyn Array, index: usize) -> Value {
    if column.is_null(index) {
        return Value::Null;
    }
    let any = column.as_any();
    if let Some(a) = any.downcast_ref::<UInt64Array>() {
        a.value(index).into()
    } else if let Some(a) = any.downcast_ref::<UInt32Array>() {
        a.value(index).into()
    } else if let Some(a) = any.downcast_ref::<Int32Array>() {
        a.value(index).into()
    } else if let Some(a) = any.downcast_ref::<Float64Array>() {
        a.value(index).into()
    } else if let Some(a) = any.downcast_ref::<BooleanArray>() {
        a.value(index).into()
    } else if let Some(a) = any.downcast_ref::<StringArray>() {
        a.value(index).into()
    } else if let Some(a) = any.downcast_ref::<LargeStringArray>() {
        a.value(index).into()
    } else {
        Value::Null
    }
}
