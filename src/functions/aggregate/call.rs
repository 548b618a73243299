//! Aggregate calls as plain data, and their result types.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result, sqlstate};
use crate::functions::expr::Expr;
use crate::functions::typing::DIVISION_SCALE;
use crate::types::{Schema, SqlType};

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateFunction {
    /// `count(*)`
    CountStar,
    /// `count(x)`: values that are not NULL.
    Count,
    /// `sum(x)`
    Sum,
    /// `avg(x)`
    Avg,
    /// `min(x)`
    Min,
    /// `max(x)`
    Max,
}

impl AggregateFunction {
    /// The name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            AggregateFunction::CountStar | AggregateFunction::Count => "count",
            AggregateFunction::Sum => "sum",
            AggregateFunction::Avg => "avg",
            AggregateFunction::Min => "min",
            AggregateFunction::Max => "max",
        }
    }

    /// The type of the result over values of `argument` (none for `count(*)`):
    ///
    /// | | smallint, integer | bigint | numeric(p,s) | real | double |
    /// |---|---|---|---|---|---|
    /// | sum | bigint | numeric(38,0) | numeric(38,s) | real | double |
    /// | avg | numeric(38,16) | numeric(38,16) | numeric(38,max(s,16)) | double | double |
    pub fn result_type(self, argument: Option<&SqlType>) -> Result<SqlType> {
        let missing = |ty: &SqlType| {
            Error::invalid(format!("function {}({ty}) does not exist", self.name()))
                .with_code(sqlstate::UNDEFINED_FUNCTION)
                .with_hint("Cast the argument to a number.")
        };
        let argument = || {
            argument.ok_or_else(|| {
                Error::invalid(format!("function {} needs an argument", self.name()))
                    .with_code(sqlstate::UNDEFINED_FUNCTION)
            })
        };
        Ok(match self {
            AggregateFunction::CountStar | AggregateFunction::Count => SqlType::BigInt,
            AggregateFunction::Min | AggregateFunction::Max => argument()?.clone(),
            AggregateFunction::Sum => match argument()? {
                SqlType::SmallInt | SqlType::Int => SqlType::BigInt,
                SqlType::BigInt => SqlType::Decimal { precision: 38, scale: 0 },
                SqlType::Decimal { scale, .. } => SqlType::Decimal { precision: 38, scale: *scale },
                SqlType::Real => SqlType::Real,
                SqlType::Double => SqlType::Double,
                other => return Err(missing(other)),
            },
            AggregateFunction::Avg => match argument()? {
                SqlType::SmallInt | SqlType::Int | SqlType::BigInt => {
                    SqlType::Decimal { precision: 38, scale: DIVISION_SCALE }
                }
                SqlType::Decimal { scale, .. } => {
                    SqlType::Decimal { precision: 38, scale: (*scale).max(DIVISION_SCALE) }
                }
                SqlType::Real | SqlType::Double => SqlType::Double,
                other => return Err(missing(other)),
            },
        })
    }
}

/// One aggregate of a GROUP BY.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AggregateCall {
    /// The function.
    pub function: AggregateFunction,
    /// Its arguments: none for `count(*)`, one for all others.
    pub args: Vec<Expr>,
    /// DISTINCT: equal values count once.
    pub distinct: bool,
    /// FILTER (WHERE ...): other rows do not count.
    pub filter: Option<Expr>,
    /// The type of its result.
    pub ty: SqlType,
}

impl AggregateCall {
    /// A call over rows of `input`, its result type worked out.
    pub fn new(
        function: AggregateFunction,
        args: Vec<Expr>,
        distinct: bool,
        filter: Option<Expr>,
        input: &Schema,
    ) -> Result<AggregateCall> {
        let ty = match args.first() {
            Some(arg) => function.result_type(Some(&arg.ty(input)?))?,
            None => function.result_type(None)?,
        };
        Ok(AggregateCall { function, args, distinct, filter, ty })
    }
}

impl fmt::Display for AggregateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}", self.function.name(), if self.distinct { "DISTINCT " } else { "" })?;
        match self.args.first() {
            Some(arg) => write!(f, "{arg})")?,
            None => f.write_str("*)")?,
        }
        self.filter.as_ref().map_or(Ok(()), |filter| write!(f, " FILTER (WHERE {filter})"))
    }
}
