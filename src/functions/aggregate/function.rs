//! The aggregate functions: their names, what they take and what they give, as PostgreSQL has it.

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result, sqlstate};
use crate::functions::typing;
use crate::types::SqlType;

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
    /// `bool_and(x)`, `every(x)`
    BoolAnd,
    /// `bool_or(x)`
    BoolOr,
    /// `bit_and(x)`
    BitAnd,
    /// `bit_or(x)`
    BitOr,
    /// `bit_xor(x)`
    BitXor,
    /// `var_pop(x)`
    VarPop,
    /// `var_samp(x)`, `variance(x)`
    VarSamp,
    /// `stddev_pop(x)`
    StddevPop,
    /// `stddev_samp(x)`, `stddev(x)`
    StddevSamp,
    /// `covar_pop(y, x)`
    CovarPop,
    /// `covar_samp(y, x)`
    CovarSamp,
    /// `corr(y, x)`
    Corr,
    /// `regr_count(y, x)`
    RegrCount,
    /// `regr_avgx(y, x)`
    RegrAvgx,
    /// `regr_avgy(y, x)`
    RegrAvgy,
    /// `regr_sxx(y, x)`
    RegrSxx,
    /// `regr_syy(y, x)`
    RegrSyy,
    /// `regr_sxy(y, x)`
    RegrSxy,
    /// `regr_slope(y, x)`
    RegrSlope,
    /// `regr_intercept(y, x)`
    RegrIntercept,
    /// `regr_r2(y, x)`
    RegrR2,
    /// `first_value(x ORDER BY ...)`
    FirstValue,
    /// `last_value(x ORDER BY ...)`
    LastValue,
    /// `string_agg(x, delimiter [ORDER BY ...])`
    StringAgg,
    /// `array_agg(x [ORDER BY ...])`
    ArrayAgg,
    /// `percentile_cont(fraction) WITHIN GROUP (ORDER BY x)`; arguments x, fraction.
    PercentileCont,
    /// `percentile_disc(fraction) WITHIN GROUP (ORDER BY x)`; arguments x, fraction.
    PercentileDisc,
    /// `mode() WITHIN GROUP (ORDER BY x)`; argument x.
    Mode,
}

use AggregateFunction::*;

/// How a function works out its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// From sums and counts that can be added to and taken from.
    Sums,
    /// It is a value of the first (or last) row of the group.
    Edge {
        /// The last row.
        last: bool,
    },
    /// Anew from all rows of the group.
    Fold,
}

impl AggregateFunction {
    /// The name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            CountStar | Count => "count",
            Sum => "sum",
            Avg => "avg",
            Min => "min",
            Max => "max",
            BoolAnd => "bool_and",
            BoolOr => "bool_or",
            BitAnd => "bit_and",
            BitOr => "bit_or",
            BitXor => "bit_xor",
            VarPop => "var_pop",
            VarSamp => "var_samp",
            StddevPop => "stddev_pop",
            StddevSamp => "stddev_samp",
            CovarPop => "covar_pop",
            CovarSamp => "covar_samp",
            Corr => "corr",
            RegrCount => "regr_count",
            RegrAvgx => "regr_avgx",
            RegrAvgy => "regr_avgy",
            RegrSxx => "regr_sxx",
            RegrSyy => "regr_syy",
            RegrSxy => "regr_sxy",
            RegrSlope => "regr_slope",
            RegrIntercept => "regr_intercept",
            RegrR2 => "regr_r2",
            FirstValue => "first_value",
            LastValue => "last_value",
            StringAgg => "string_agg",
            ArrayAgg => "array_agg",
            PercentileCont => "percentile_cont",
            PercentileDisc => "percentile_disc",
            Mode => "mode",
        }
    }

    /// Whether its value is what WITHIN GROUP orders by.
    pub fn is_ordered_set(self) -> bool {
        matches!(self, PercentileCont | PercentileDisc | Mode)
    }

    /// Whether its answer is never NULL.
    pub fn is_count(self) -> bool {
        matches!(self, CountStar | Count | RegrCount)
    }

    pub(super) fn method(self) -> Method {
        match self {
            Min => Method::Edge { last: false },
            Max => Method::Edge { last: true },
            FirstValue => Method::Edge { last: false },
            LastValue => Method::Edge { last: true },
            StringAgg | ArrayAgg | PercentileCont | PercentileDisc | Mode => Method::Fold,
            CountStar | Count | Sum | Avg | BoolAnd | BoolOr | BitAnd | BitOr | BitXor | VarPop | VarSamp
            | StddevPop | StddevSamp | CovarPop | CovarSamp | Corr | RegrCount | RegrAvgx | RegrAvgy | RegrSxx
            | RegrSyy | RegrSxy | RegrSlope | RegrIntercept | RegrR2 => Method::Sums,
        }
    }

    /// Whether DISTINCT changes nothing.
    pub(super) fn ignores_distinct(self) -> bool {
        matches!(self, CountStar | Min | Max | BoolAnd | BoolOr | BitAnd | BitOr | FirstValue | LastValue | Mode)
    }

    /// Whether a row counts whose value is NULL.
    pub(super) fn takes_null(self) -> bool {
        matches!(self, CountStar | FirstValue | LastValue | ArrayAgg)
    }

    /// How many arguments it takes.
    fn arity(self) -> usize {
        match self {
            CountStar => 0,
            Count | Sum | Avg | Min | Max | BoolAnd | BoolOr | BitAnd | BitOr | BitXor | VarPop | VarSamp
            | StddevPop | StddevSamp | FirstValue | LastValue | ArrayAgg | Mode => 1,
            CovarPop | CovarSamp | Corr | RegrCount | RegrAvgx | RegrAvgy | RegrSxx | RegrSyy | RegrSxy | RegrSlope
            | RegrIntercept | RegrR2 | StringAgg | PercentileCont | PercentileDisc => 2,
        }
    }

    /// The types to which arguments of these types are cast.
    pub fn argument_types(self, types: &[SqlType]) -> Result<Vec<SqlType>> {
        if types.len() != self.arity() {
            return Err(self.missing(types, "Look at the number of its arguments."));
        }
        let numbers = || match types.iter().all(SqlType::is_numeric) {
            true => Ok(()),
            false => Err(self.missing(types, "Cast the argument to a number.")),
        };
        Ok(match self {
            CountStar | Count | Min | Max | FirstValue | LastValue | Mode => types.to_vec(),
            Sum | Avg | VarPop | VarSamp | StddevPop | StddevSamp => {
                numbers()?;
                types.to_vec()
            }
            ArrayAgg => match types {
                [SqlType::Array(_)] => return Err(self.missing(types, "Arrays have one dimension here.")),
                _ => types.to_vec(),
            },
            BoolAnd | BoolOr => match types {
                [SqlType::Boolean] => types.to_vec(),
                _ => return Err(self.missing(types, "Write a condition as its argument.")),
            },
            BitAnd | BitOr | BitXor => match types {
                [SqlType::SmallInt | SqlType::Int | SqlType::BigInt] => types.to_vec(),
                _ => return Err(self.missing(types, "Cast the argument to a whole number.")),
            },
            CovarPop | CovarSamp | Corr | RegrCount | RegrAvgx | RegrAvgy | RegrSxx | RegrSyy | RegrSxy | RegrSlope
            | RegrIntercept | RegrR2 => {
                numbers()?;
                vec![SqlType::Double; 2]
            }
            StringAgg => match types {
                [SqlType::Varchar, SqlType::Varchar] | [SqlType::Bytea, SqlType::Bytea] => types.to_vec(),
                _ => return Err(self.missing(types, "Cast both arguments to text.")),
            },
            PercentileCont => {
                numbers()?;
                vec![SqlType::Double; 2]
            }
            PercentileDisc => match types {
                [value, fraction] if fraction.is_numeric() => vec![value.clone(), SqlType::Double],
                _ => return Err(self.missing(types, "Write a fraction between 0 and 1.")),
            },
        })
    }

    /// The type of the result over arguments of these types, already cast:
    ///
    /// | | smallint, integer | bigint | numeric(p,s) | real | double |
    /// |---|---|---|---|---|---|
    /// | sum | bigint | numeric(38,0) | numeric(38,s) | real | double |
    /// | avg, variances, deviations | a quotient (`types/numeric.rs`) | the same | the same | double | double |
    ///
    /// Covariances and regressions are double precision.
    pub fn result_type(self, types: &[SqlType]) -> Result<SqlType> {
        let types = self.argument_types(types)?;
        let first = types.first().cloned().unwrap_or(SqlType::BigInt);
        Ok(match self {
            CountStar | Count | RegrCount => SqlType::BigInt,
            Min | Max | BoolAnd | BoolOr | BitAnd | BitOr | BitXor | FirstValue | LastValue | StringAgg
            | PercentileDisc | Mode => first,
            ArrayAgg => SqlType::Array(Box::new(first)),
            Sum => match first {
                SqlType::SmallInt | SqlType::Int => SqlType::BigInt,
                SqlType::BigInt => SqlType::Decimal { precision: 38, scale: 0 },
                SqlType::Decimal { precision, scale } => typing::widest(precision, scale),
                other => other,
            },
            Avg | VarPop | VarSamp | StddevPop | StddevSamp if matches!(first, SqlType::Real | SqlType::Double) => {
                SqlType::Double
            }
            Avg => typing::average(&first, false),
            VarPop | VarSamp => typing::average(&first, true),
            StddevPop | StddevSamp => typing::deviation(&first),
            CovarPop | CovarSamp | Corr | RegrAvgx | RegrAvgy | RegrSxx | RegrSyy | RegrSxy | RegrSlope
            | RegrIntercept | RegrR2 | PercentileCont => SqlType::Double,
        })
    }

    fn missing(self, types: &[SqlType], hint: &str) -> Error {
        let usage = format!("Write {}(fraction) WITHIN GROUP (ORDER BY value).", self.name());
        let hint = if matches!(self, PercentileCont | PercentileDisc) && types.len() < 2 { &usage } else { hint };
        let types: Vec<String> = types.iter().map(SqlType::to_string).collect();
        Error::invalid(format!("function {}({}) does not exist", self.name(), types.join(", ")))
            .with_code(sqlstate::UNDEFINED_FUNCTION)
            .with_hint(hint)
    }
}
