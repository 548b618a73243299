//! Operator specs: plain data from the planner to the workers, and to disk beside the SQL.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::{
    AggregateSpec, AsofSpec, ChainSpec, DuringSpec, Emit, GateSpec, JoinSpec, KeepSpec, LookupSpec, Operator, OverSpec,
    ProctimeSpec, SessionSpec, SingleSpec, TopSpec, UnionSpec, fault_schema,
};
use crate::base::{Error, Result};
use crate::state::TableSpec;
use crate::types::Schema;

/// The plain data that describes an operator. Serialised with serde (JSON inside a graph); a new field needs a serde
/// default, so that stored graphs are still read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorSpec {
    /// Stateless steps.
    Chain(ChainSpec),
    /// Late rows told from the others.
    Gate(GateSpec),
    /// GROUP BY.
    Aggregate(AggregateSpec),
    /// Joins of every kind.
    Join(JoinSpec),
    /// The newest rows and how many there were.
    Keep(KeepSpec),
    /// UNION ALL.
    Union(UnionSpec),
    /// The one row of a scalar sub-query.
    Single(SingleSpec),
    /// The newest version of each row's key.
    Asof(AsofSpec),
    /// The first rows of each partition.
    Top(TopSpec),
    /// Window functions.
    Over(OverSpec),
    /// SESSION windows.
    Session(SessionSpec),
    /// Temporal filters.
    During(DuringSpec),
    /// PROCTIME().
    Proctime(ProctimeSpec),
    /// Joins with what is there when a row comes.
    Lookup(LookupSpec),
}

impl OperatorSpec {
    /// The operator, ready to be called. Fails (`Invalid` or `Internal`) when the spec contradicts itself.
    pub fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(match self {
            OperatorSpec::Chain(spec) => Box::new(spec.build()?),
            OperatorSpec::Gate(spec) => Box::new(spec.build()?),
            OperatorSpec::Aggregate(spec) => Box::new(spec.build()?),
            OperatorSpec::Join(spec) => Box::new(spec.build()?),
            OperatorSpec::Keep(spec) => Box::new(spec.build()?),
            OperatorSpec::Union(spec) => Box::new(spec.build()),
            OperatorSpec::Single(spec) => Box::new(spec.build()),
            OperatorSpec::Asof(spec) => Box::new(spec.build()?),
            OperatorSpec::Top(spec) => Box::new(spec.build()?),
            OperatorSpec::Over(spec) => Box::new(spec.build()?),
            OperatorSpec::Session(spec) => Box::new(spec.build()?),
            OperatorSpec::During(spec) => Box::new(spec.build()?),
            OperatorSpec::Proctime(spec) => Box::new(spec.build()),
            OperatorSpec::Lookup(spec) => Box::new(spec.build()?),
        })
    }

    /// The state tables it needs, in the order in which it names them by number.
    pub fn tables(&self) -> Result<Vec<TableSpec>> {
        match self {
            OperatorSpec::Aggregate(spec) => spec.tables(),
            OperatorSpec::Join(spec) => spec.tables(),
            OperatorSpec::Keep(spec) => Ok(spec.tables()),
            OperatorSpec::Single(spec) => Ok(spec.tables()),
            OperatorSpec::Asof(spec) => spec.tables(),
            OperatorSpec::Top(spec) => spec.tables(),
            OperatorSpec::Over(spec) => spec.tables(),
            OperatorSpec::Session(spec) => spec.tables(),
            OperatorSpec::During(spec) => spec.tables(),
            OperatorSpec::Proctime(spec) => Ok(spec.tables()),
            OperatorSpec::Lookup(spec) => spec.tables(),
            OperatorSpec::Chain(_) | OperatorSpec::Gate(_) | OperatorSpec::Union(_) => Ok(Vec::new()),
        }
    }

    /// How many input ports it has.
    pub fn inputs(&self) -> usize {
        match self {
            OperatorSpec::Join(_) | OperatorSpec::Asof(_) | OperatorSpec::Lookup(_) => 2,
            OperatorSpec::Union(spec) => spec.inputs,
            OperatorSpec::Chain(_)
            | OperatorSpec::Gate(_)
            | OperatorSpec::Aggregate(_)
            | OperatorSpec::Keep(_)
            | OperatorSpec::Single(_)
            | OperatorSpec::Top(_)
            | OperatorSpec::Over(_)
            | OperatorSpec::Session(_)
            | OperatorSpec::During(_)
            | OperatorSpec::Proctime(_) => 1,
        }
    }

    /// By which columns rows of input `port` must be exchanged: rows that agree in them meet in one subtask, the owner
    /// of their key group. `None`: any subtask will do. No columns: one subtask, the owner of the empty key's group;
    /// such an operator must not run on any other ([`Operator`], host 3).
    pub fn partition(&self, port: usize) -> Option<Vec<usize>> {
        match self {
            OperatorSpec::Aggregate(spec) => Some(spec.keys.clone()),
            OperatorSpec::Join(spec) => Some(spec.partition(port)),
            OperatorSpec::Asof(spec) => Some(spec.partition(port)),
            OperatorSpec::Keep(_) | OperatorSpec::Single(_) => Some(Vec::new()),
            OperatorSpec::Top(spec) => Some(spec.order.partition.clone()),
            OperatorSpec::Over(spec) => Some(spec.order.partition.clone()),
            OperatorSpec::Session(spec) => Some(spec.keys.clone()),
            OperatorSpec::During(spec) => Some(spec.partition()),
            OperatorSpec::Proctime(spec) => spec.partition(),
            OperatorSpec::Lookup(spec) => Some(spec.partition(port)),
            OperatorSpec::Chain(_) | OperatorSpec::Gate(_) | OperatorSpec::Union(_) => None,
        }
    }

    /// The schema of each output port. A port that this operator never speaks on has no columns.
    pub fn outputs(&self) -> Result<Vec<Schema>> {
        Ok(match self {
            OperatorSpec::Chain(spec) => vec![spec.output()?, Schema::default(), fault_schema()],
            OperatorSpec::Gate(spec) => spec.outputs()?.into(),
            OperatorSpec::Aggregate(spec) => vec![spec.output()?, Schema::default(), fault_schema()],
            OperatorSpec::Join(spec) => vec![spec.output(), Schema::default(), fault_schema()],
            OperatorSpec::Keep(spec) => spec.outputs().into(),
            OperatorSpec::Union(spec) => vec![spec.schema.clone()],
            OperatorSpec::Single(spec) => vec![spec.output(), Schema::default(), fault_schema()],
            OperatorSpec::Asof(spec) => vec![spec.output()],
            OperatorSpec::Top(spec) => vec![spec.output()],
            OperatorSpec::Over(spec) => vec![spec.output(), Schema::default(), fault_schema()],
            OperatorSpec::Session(spec) => vec![spec.output()?, Schema::default(), fault_schema()],
            OperatorSpec::During(spec) => vec![spec.input.clone()],
            OperatorSpec::Proctime(spec) => vec![spec.output()],
            OperatorSpec::Lookup(spec) => vec![spec.output()],
        })
    }

    /// Its name, the SQL word where there is one.
    pub fn name(&self) -> &'static str {
        match self {
            OperatorSpec::Chain(_) => "chain",
            OperatorSpec::Gate(_) => "gate",
            OperatorSpec::Aggregate(_) => "aggregate",
            OperatorSpec::Join(_) => "join",
            OperatorSpec::Keep(_) => "keep",
            OperatorSpec::Union(_) => "union",
            OperatorSpec::Single(_) => "single",
            OperatorSpec::Asof(_) => "asof",
            OperatorSpec::Top(_) => "top",
            OperatorSpec::Over(_) => "over",
            OperatorSpec::Session(_) => "session",
            OperatorSpec::During(_) => "during",
            OperatorSpec::Proctime(_) => "proctime",
            OperatorSpec::Lookup(_) => "lookup",
        }
    }

    /// Whether it follows the clock: then its job sees every epoch.
    pub fn follows_clock(&self) -> bool {
        matches!(self, OperatorSpec::During(_))
    }

    /// Whether it speaks when a window closes: by the clock, if its watermark is the clock's.
    pub fn speaks_on_close(&self) -> bool {
        matches!(self, OperatorSpec::Aggregate(AggregateSpec { emit: Emit::WindowClose { .. }, .. }))
            || matches!(self, OperatorSpec::Session(SessionSpec { on_close: true, .. }))
    }

    /// What it does, for EXPLAIN and `ms_operators`.
    pub fn detail(&self) -> String {
        match self {
            OperatorSpec::Chain(spec) => spec.detail(),
            OperatorSpec::Gate(spec) => spec.detail(),
            OperatorSpec::Aggregate(spec) => spec.detail(),
            OperatorSpec::Join(spec) => spec.detail(),
            OperatorSpec::Keep(spec) => spec.detail(),
            OperatorSpec::Top(spec) => spec.detail(),
            OperatorSpec::Over(spec) => spec.detail(),
            OperatorSpec::Session(spec) => spec.detail(),
            OperatorSpec::During(spec) => spec.detail(),
            OperatorSpec::Proctime(spec) => spec.detail(),
            OperatorSpec::Lookup(spec) => spec.detail(),
            OperatorSpec::Union(spec) => format!("all rows of {} inputs", spec.inputs),
            OperatorSpec::Single(_) => "the one row of a scalar sub-query".to_owned(),
            OperatorSpec::Asof(spec) => spec.detail(),
        }
    }

    /// What bounds its state, for EXPLAIN and `ms_operators`.
    pub fn bounded_by(&self) -> String {
        match self {
            OperatorSpec::Aggregate(spec) => spec.bounded_by(),
            OperatorSpec::Join(spec) => spec.bounded_by(),
            OperatorSpec::Keep(spec) => spec.bounded_by(),
            OperatorSpec::Single(_) => "the rows of the sub-query".to_owned(),
            OperatorSpec::Asof(spec) => spec.bounded_by(),
            OperatorSpec::Top(spec) => spec.bounded_by(),
            OperatorSpec::Over(spec) => spec.bounded_by(),
            OperatorSpec::Session(spec) => spec.bounded_by(),
            OperatorSpec::During(spec) => spec.bounded_by(),
            OperatorSpec::Proctime(spec) => spec.bounded_by(),
            OperatorSpec::Lookup(spec) => spec.bounded_by(),
            OperatorSpec::Chain(_) | OperatorSpec::Gate(_) | OperatorSpec::Union(_) => "no state".to_owned(),
        }
    }
}

/// The batch's door: columns are checked once per batch, so that operators may rely on their types.
pub(super) struct Door {
    operator: &'static str,
    types: Vec<DataType>,
}

impl Door {
    /// The door of `operator` for rows of `schema`.
    pub fn new(operator: &'static str, schema: &Schema) -> Door {
        Door { operator, types: schema.columns.iter().map(|column| column.ty.arrow()).collect() }
    }

    /// Fails (`Internal`) when the columns are not of the expected types.
    pub fn check(&self, rows: &RecordBatch) -> Result<()> {
        let fits = rows.num_columns() == self.types.len()
            && rows.columns().iter().zip(&self.types).all(|(column, ty)| column.data_type() == ty);
        if fits {
            return Ok(());
        }
        let found: Vec<_> = rows.columns().iter().map(|column| column.data_type()).collect();
        Err(Error::internal(format!("operator \"{}\" was given rows of other types than its input has", self.operator))
            .with_detail(format!("Expected {:?}, found {found:?}.", self.types)))
    }

    /// As [`Door::check`] for a port that must not exist.
    pub fn no_port(&self, port: usize) -> Error {
        Error::internal(format!("operator \"{}\" has no input port {port}", self.operator))
    }
}

/// The names of the columns at `indices`, for EXPLAIN.
pub(super) fn names(schema: &Schema, indices: &[usize]) -> String {
    let name = |&i: &usize| schema.columns.get(i).map_or("?", |column| column.name.as_str());
    indices.iter().map(name).collect::<Vec<_>>().join(", ")
}
