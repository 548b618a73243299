//! Floor 8: our SQL. Text to statements (`parse`), statements to DataFusion's logical plans (`bind`), WITH options to
//! checked values (`options`). Knows nothing of running jobs.

mod bind;
mod declared;
mod dialect;
mod options;
mod parse;
mod postgres;
mod rename;
mod statement;

pub use bind::{
    BindMode, Binder, BoundChange, BoundConflict, BoundFunction, BoundInsert, BoundQuery, RelationDefinition, Use,
    WatermarkDefinition,
};
pub use declared::{Declared, declared_columns};
pub use options::{
    DatagenOptions, FormatOptions, NexmarkOptions, NexmarkTable, SinkConnector, SinkOptions, SourceConnector,
    SourceOptions, TimestampUnit, sink_options, source_options, table_options, view_options,
};
pub use parse::parse;
pub use postgres::{DATABASE, Facts, SessionFact, catalog_rows, function_names};
pub use rename::{OldName, quoted, renamed_references, renamed_statement};
pub use statement::*;
