//! What schedules and comparisons of schedules say.
//!
//! Pure: [`model::Trace`]s in, values and tables out. Takes lock waits apart, finds inversions,
//! sums responses up, compares two traces, and says what a trace lacks to be asked. Knows
//! neither files nor users; a replayed schedule is a trace like any other.

pub mod compare;
pub mod decompose;
mod distribution;
pub mod divergence;
pub mod episode;
pub mod fidelity;
mod frame;
pub mod identity;
pub mod interval;
pub mod inversion;
pub mod need;
mod part;
pub mod responses;
mod rows;
pub mod summary;
mod table;
pub mod urgency;

pub use compare::{Comparison, compare};
pub use decompose::{Decomposition, Piece, decompose, decompose_all};
pub use distribution::{Distribution, quantile};
pub use divergence::{Divergence, divergence};
pub use episode::{Episode, episode, same_response, same_wait, worst_episodes, worst_episodes_of};
pub use fidelity::{Fidelity, Measure, Miss, fidelity};
pub use frame::{FrameError, to_frame, to_table, write_csv, write_parquet};
pub use identity::TaskKey;

pub use interval::{Doubts, Draw, Interval, Intervals, Means, TaskInterval, intervals, is_settled};
pub use inversion::Inversion;
pub use need::{Missing, Question};
pub use part::{Part, Parts};
pub use rows::rows;
pub use summary::{Summary, TaskSummary, summary};
pub use table::{TableName, UnknownTable, table};
