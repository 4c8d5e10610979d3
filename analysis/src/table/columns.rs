//! Columns of a table, put together.

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, RecordBatch, StringArray, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use std::sync::Arc;

/// A table being made: every column has a name, a type and as many rows as the others.
#[derive(Default)]
pub(super) struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn push(mut self, name: &str, kind: DataType, optional: Nullable, array: ArrayRef) -> Self {
        self.fields.push(Field::new(name, kind, optional == Nullable::Yes));
        self.arrays.push(array);
        self
    }

    /// Nanoseconds, counts, addresses.
    pub(super) fn u64(self, name: &str, values: impl Iterator<Item = u64>) -> Self {
        let array = Arc::new(UInt64Array::from_iter_values(values));
        self.push(name, DataType::UInt64, Nullable::No, array)
    }

    /// The same, where a row may have none.
    pub(super) fn maybe_u64(self, name: &str, values: impl Iterator<Item = Option<u64>>) -> Self {
        let array = Arc::new(values.collect::<UInt64Array>());
        self.push(name, DataType::UInt64, Nullable::Yes, array)
    }

    /// CPUs and small counts.
    pub(super) fn u32(self, name: &str, values: impl Iterator<Item = u32>) -> Self {
        let array = Arc::new(UInt32Array::from_iter_values(values));
        self.push(name, DataType::UInt32, Nullable::No, array)
    }

    /// The same, where a row may have none.
    pub(super) fn maybe_u32(self, name: &str, values: impl Iterator<Item = Option<u32>>) -> Self {
        let array = Arc::new(values.collect::<UInt32Array>());
        self.push(name, DataType::UInt32, Nullable::Yes, array)
    }

    /// Thread ids.
    pub(super) fn i32(self, name: &str, values: impl Iterator<Item = i32>) -> Self {
        let array = Arc::new(Int32Array::from_iter_values(values));
        self.push(name, DataType::Int32, Nullable::No, array)
    }

    /// The same, where a row may have none.
    pub(super) fn maybe_i32(self, name: &str, values: impl Iterator<Item = Option<i32>>) -> Self {
        let array = Arc::new(values.collect::<Int32Array>());
        self.push(name, DataType::Int32, Nullable::Yes, array)
    }

    /// Means.
    pub(super) fn f64(self, name: &str, values: impl Iterator<Item = f64>) -> Self {
        let array = Arc::new(Float64Array::from_iter_values(values));
        self.push(name, DataType::Float64, Nullable::No, array)
    }

    /// Answers.
    pub(super) fn flag(self, name: &str, values: impl Iterator<Item = bool>) -> Self {
        let array = Arc::new(BooleanArray::from(values.collect::<Vec<bool>>()));
        self.push(name, DataType::Boolean, Nullable::No, array)
    }

    /// Names.
    pub(super) fn text<S: AsRef<str>>(self, name: &str, values: impl Iterator<Item = S>) -> Self {
        let array = Arc::new(StringArray::from_iter_values(values));
        self.push(name, DataType::Utf8, Nullable::No, array)
    }

    /// Names, where a row may have none.
    pub(super) fn maybe_text<S: AsRef<str>>(
        self,
        name: &str,
        values: impl Iterator<Item = Option<S>>,
    ) -> Self {
        let array = Arc::new(values.collect::<StringArray>());
        self.push(name, DataType::Utf8, Nullable::Yes, array)
    }

    /// The table.
    ///
    /// # Panics
    ///
    /// When columns differ in length: a bug of the table's maker.
    pub(super) fn finish(self) -> RecordBatch {
        let schema = Arc::new(Schema::new(self.fields));
        RecordBatch::try_new(schema, self.arrays).expect("columns of one table have one length")
    }
}

/// Whether rows of a column may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nullable {
    Yes,
    No,
}
