//! Tables on their way out: CSV, Parquet, rows of JSON, and polars frames.

use arrow::array::{Array, ArrayRef, RecordBatch, make_array};
use arrow::datatypes::{Field, Schema};
use polars::prelude::{CompatLevel, DataFrame, IntoColumn, PolarsError, Series};
use polars_io::SerWriter;
use polars_io::prelude::{CsvWriter, ParquetCompression, ParquetWriter};
use std::io::Write;
use std::sync::Arc;

/// A table that could not be written or converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// While a column left Arrow.
    #[error("a column cannot be handed over")]
    Arrow(#[from] arrow::error::ArrowError),
    /// In polars, writing included.
    #[error("the table cannot be written")]
    Polars(#[from] PolarsError),
}

/// The same columns as a polars frame, without copying numbers.
///
/// # Errors
///
/// When a column's type has no counterpart: none of the tables of this crate has such.
pub fn to_frame(batch: &RecordBatch) -> Result<DataFrame, FrameError> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let (array, schema) = arrow::ffi::to_ffi(&column.to_data())?;
        let array = import(array, schema)?;
        columns.push(Series::from_arrow(field.name().as_str().into(), array)?.into_column());
    }
    Ok(DataFrame::new(batch.num_rows(), columns)?)
}

/// Takes one column over through the Arrow C data interface.
#[expect(unsafe_code, reason = "the C data interface is the only bridge without a copy")]
fn import(
    array: arrow::ffi::FFI_ArrowArray,
    schema: arrow::ffi::FFI_ArrowSchema,
) -> Result<Box<dyn polars_arrow::array::Array>, PolarsError> {
    // SAFETY: both types are `#[repr(C)]` copies of the same two structs of the Arrow C data
    // interface. Each value is moved, so that its release callback runs exactly once, in polars.
    let (array, schema) = unsafe {
        (
            std::mem::transmute::<arrow::ffi::FFI_ArrowArray, polars_arrow::ffi::ArrowArray>(array),
            std::mem::transmute::<arrow::ffi::FFI_ArrowSchema, polars_arrow::ffi::ArrowSchema>(
                schema,
            ),
        )
    };
    // SAFETY: the structs come from `to_ffi`, which fills them in as the interface asks; array and
    // schema belong to the same column.
    unsafe {
        let field = polars_arrow::ffi::import_field_from_c(&schema)?;
        polars_arrow::ffi::import_array_from_c(array, field.dtype.clone())
    }
}

/// The same columns as a table; texts become `LargeUtf8`.
///
/// # Errors
///
/// When a column's type has no counterpart in Arrow.
pub fn to_table(frame: &DataFrame) -> Result<RecordBatch, FrameError> {
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for column in frame.columns() {
        let series = column.as_materialized_series().rechunk();
        let array = export(series.to_arrow(0, CompatLevel::oldest()))?;
        fields.push(Field::new(column.name().as_str(), array.data_type().clone(), true));
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// Hands one column back through the Arrow C data interface.
#[expect(unsafe_code, reason = "the C data interface is the only bridge without a copy")]
fn export(
    array: Box<dyn polars_arrow::array::Array>,
) -> Result<ArrayRef, arrow::error::ArrowError> {
    let field = polars_arrow::datatypes::Field::new("".into(), array.dtype().clone(), true);
    let schema = polars_arrow::ffi::export_field_to_c(&field);
    let array = polars_arrow::ffi::export_array_to_c(array);
    // SAFETY: both types are `#[repr(C)]` copies of the same two structs of the Arrow C data
    // interface. Each value is moved, so that its release callback runs exactly once, in arrow.
    let (array, schema) = unsafe {
        (
            std::mem::transmute::<polars_arrow::ffi::ArrowArray, arrow::ffi::FFI_ArrowArray>(array),
            std::mem::transmute::<polars_arrow::ffi::ArrowSchema, arrow::ffi::FFI_ArrowSchema>(
                schema,
            ),
        )
    };
    // SAFETY: polars filled the structs in as the interface asks; both are of the same column.
    let data = unsafe { arrow::ffi::from_ffi(array, &schema) }?;
    Ok(make_array(data))
}

/// Writes a table as CSV: a head line, then one line per row; an absent value is empty.
///
/// # Errors
///
/// When `out` does not take it.
pub fn write_csv(batch: &RecordBatch, out: &mut impl Write) -> Result<(), FrameError> {
    let mut frame = to_frame(batch)?;
    CsvWriter::new(out).include_header(true).finish(&mut frame)?;
    Ok(())
}

/// Writes a table as Parquet, compressed with zstd.
///
/// # Errors
///
/// When `out` does not take it.
pub fn write_parquet(batch: &RecordBatch, out: &mut impl Write) -> Result<(), FrameError> {
    let mut frame = to_frame(batch)?;
    ParquetWriter::new(out).with_compression(ParquetCompression::Zstd(None)).finish(&mut frame)?;
    Ok(())
}
