//! TUMBLE, HOP, CUMULATE and SESSION in FROM, in every spelling of the dialect, as `WindowAssign`.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result as PlanResult, ScalarValue};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr as LogicalExpr, LogicalPlan};
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Spanned, TableAlias, TableFactor,
};

use super::super::dialect::{PARTITION_ARGUMENT, TABLE_ARGUMENT};
use super::super::parse::fold;
use super::errors::{carry, translate};
use crate::base::{Error, Result, sqlstate};
use crate::plan::{Window, WindowAssign};
use crate::types::SqlType;

/// Plans window functions; everything else is left to DataFusion.
#[derive(Debug)]
pub(super) struct Windows;

impl RelationPlanner for Windows {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> PlanResult<RelationPlanning> {
        let Some(call) = Call::of(&relation) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let plan = call.plan(context).map_err(carry)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, call.alias))))
    }
}

/// A window function as a table.
pub(super) struct Call {
    /// In lower case: `tumble`, `hop`, `cumulate`, `session`.
    pub name: String,
    /// Where it stands.
    pub position: usize,
    args: Vec<(Option<String>, Expr)>,
    /// What stands behind PARTITION BY.
    keys: Vec<Expr>,
    alias: Option<TableAlias>,
}

/// The keys of `args`' PARTITION BY, and the arguments without it. `PARTITION BY a, b, time, gap` is read so that the
/// last two arguments are those of SESSION.
fn partition(args: &mut Vec<(Option<String>, Expr)>) -> Vec<Expr> {
    let Some((_, first)) = args.first_mut() else { return Vec::new() };
    let Expr::Named { expr, name } = &*first else { return Vec::new() };
    let Expr::Tuple(parts) = expr.as_ref() else { return Vec::new() };
    let [data, keys @ ..] = parts.as_slice() else { return Vec::new() };
    if name.value != PARTITION_ARGUMENT {
        return Vec::new();
    }
    let (data, mut keys) = (data.clone(), keys.to_vec());
    *first = data;
    let positional = args.iter().take_while(|(name, _)| name.is_none()).count();
    if positional == args.len() && positional > 3 {
        keys.extend(args.drain(1..positional - 2).map(|(_, key)| key));
    }
    keys
}

impl Call {
    /// The window function that `factor` is, if it is one.
    pub fn of(factor: &TableFactor) -> Option<Call> {
        let (name, args, alias) = match factor {
            TableFactor::Table { name, args: Some(args), alias, .. } => (name, &args.args, alias),
            TableFactor::Function { name, args, alias, .. } => (name, args, alias),
            TableFactor::TableFunction { expr: Expr::Function(function), alias } => match &function.args {
                FunctionArguments::List(list) => (&function.name, &list.args, alias),
                FunctionArguments::None | FunctionArguments::Subquery(_) => return None,
            },
            _ => return None,
        };
        let [part] = name.0.as_slice() else { return None };
        let ident = part.as_ident()?;
        let name = ident.value.to_lowercase();
        if !["tumble", "hop", "cumulate", "session"].contains(&name.as_str()) {
            return None;
        }
        let mut args: Vec<_> = args.iter().filter_map(argument).collect();
        let keys = partition(&mut args);
        Some(Call { name, position: ident.span.start.column as usize, args, keys, alias: alias.clone() })
    }

    /// The relation whose rows are put into windows.
    pub fn data(&self) -> Option<&Expr> {
        let named = |name: &Option<String>| name.as_deref().is_none_or(|name| name == "data");
        self.args.iter().find(|(name, _)| named(name)).map(|(_, expr)| expr)
    }

    /// What the windows are called.
    pub fn alias(&self) -> Option<&TableAlias> {
        self.alias.as_ref()
    }

    fn plan(&self, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let names: &[&str] = match self.name.as_str() {
            "tumble" => &["data", "timecol", "size", "offset"],
            "hop" => &["data", "timecol", "slide", "size", "offset"],
            "cumulate" => &["data", "timecol", "step", "size", "offset"],
            _ => &["data", "timecol", "gap"],
        };
        let sessions = self.name == "session";
        if let (Some(key), false) = (self.keys.first(), sessions) {
            return Err(self
                .error(format!("{} takes no PARTITION BY", self.shown()))
                .with_hint("Group by the column: its windows are the same for every key.")
                .at(position(key, self.position)));
        }
        let args = self.by_name(names)?;
        let needed = |i: usize| {
            args.get(i).copied().flatten().ok_or_else(|| {
                self.error(format!("{} needs argument \"{}\"", self.shown(), names[i]))
                    .with_hint(format!("Write {}.", usage(&self.name)))
            })
        };
        let input = self.input(needed(0)?, context)?;
        let time = self.time(needed(1)?, &input, context)?;
        let keys = self.keys.iter().map(|key| self.column("key", key, &input, context)).collect::<Result<Vec<_>>>()?;
        let mut lengths = Vec::new();
        // Between the relation and its time, and the offset.
        let offset_at = names.iter().position(|name| *name == "offset");
        for (i, name) in names.iter().enumerate().take(offset_at.unwrap_or(names.len())).skip(2) {
            lengths.push(self.length(name, needed(i)?, context)?);
        }
        let offset_us = match offset_at.and_then(|at| args.get(at).copied().flatten()) {
            Some(offset) => self.interval("offset", offset, context)?,
            None => 0,
        };
        let window = self.window(&lengths, offset_us)?;
        let assign = WindowAssign::new(input, time, keys, window).map_err(|error| {
            translate(error, Some(self.position)).with_hint(
                "Rename the columns window_start and window_end of the input: SELECT window_start AS inner_start, ...",
            )
        })?;
        Ok(assign.into_plan())
    }

    /// The window of these lengths, in the order of the arguments.
    fn window(&self, lengths: &[i64], offset_us: i64) -> Result<Window> {
        let window = match lengths {
            [gap_us] if self.name == "session" => Window::Session { gap_us: *gap_us },
            [size_us] => Window::Tumble { size_us: *size_us, offset_us },
            [step_us, size_us] if self.name == "cumulate" => {
                if size_us % step_us != 0 {
                    return Err(Error::invalid("the size of CUMULATE must be a multiple of its step")
                        .with_code(sqlstate::INVALID_PARAMETER_VALUE)
                        .with_hint("The step comes first, then the size: CUMULATE(relation, time, INTERVAL '1 hour', INTERVAL '1 day').")
                        .at(self.position));
                }
                Window::Cumulate { step_us: *step_us, size_us: *size_us, offset_us }
            }
            [slide_us, size_us] => Window::Hop { slide_us: *slide_us, size_us: *size_us, offset_us },
            _ => return Err(Error::internal(format!("{} of {} lengths", self.shown(), lengths.len()))),
        };
        if let Window::Hop { slide_us, size_us, .. } | Window::Cumulate { step_us: slide_us, size_us, .. } = window
            && size_us / slide_us > 10_000
        {
            return Err(self
                .error(format!("{} would put a row into more than 10000 windows", self.shown()))
                .with_hint("The slide comes first, then the size; choose a larger slide or a smaller size."));
        }
        Ok(window)
    }

    /// The arguments in the order of `names`, positional ones first.
    fn by_name<'a>(&'a self, names: &[&str]) -> Result<Vec<Option<&'a Expr>>> {
        let mut found: Vec<Option<&Expr>> = vec![None; names.len()];
        for (i, (name, expr)) in self.args.iter().enumerate() {
            let slot = match name {
                None => Some(i),
                Some(name) => names.iter().position(|known| known == name),
            };
            match slot.and_then(|slot| found.get_mut(slot)) {
                Some(slot @ None) => *slot = Some(expr),
                Some(Some(_)) => return Err(self.error(format!("an argument of {} is given twice", self.shown()))),
                None => {
                    let what =
                        name.as_deref().map_or(format!("{} arguments", i + 1), |name| format!("argument \"{name}\""));
                    return Err(self
                        .error(format!("{} takes no {what}", self.shown()))
                        .with_hint(format!("Write {}.", usage(&self.name))));
                }
            }
        }
        Ok(found)
    }

    fn input(&self, expr: &Expr, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let factor = match expr {
            Expr::Identifier(ident) => table(vec![ident.clone()]),
            Expr::CompoundIdentifier(idents) => table(idents.clone()),
            Expr::Named { expr, name } if name.value == TABLE_ARGUMENT => return self.input(expr, context),
            Expr::Nested(inner) => return self.input(inner, context),
            Expr::Subquery(query) => {
                TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None }
            }
            other => {
                return Err(self
                    .error(format!("the first argument of {} is a relation or a sub-query, not {other}", self.shown()))
                    .with_hint(format!("Write {}.", usage(&self.name))));
            }
        };
        context.plan(factor).map_err(|error| translate(error, Some(position(expr, self.position))))
    }

    fn time(
        &self,
        expr: &Expr,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<datafusion::common::Column> {
        let at = position(expr, self.position);
        let column = self.column("time", descriptor(expr), input, context)?;
        let ty = input.schema().qualified_field_from_column(&column).map(|(_, field)| field.data_type().clone());
        let ty = ty.map_err(|error| translate(error, Some(at)))?;
        let fits = SqlType::from_arrow(&ty).is_ok_and(|ty| ty.is_timestamp());
        if !fits || !matches!(ty, DataType::Timestamp(_, _)) {
            let shown = SqlType::from_arrow(&ty).map_or_else(|_| ty.to_string(), |ty| ty.to_string());
            return Err(Error::invalid(format!(
                "column \"{}\" of type {shown} cannot be a time of {}",
                column.name,
                self.shown()
            ))
            .with_code(sqlstate::DATATYPE_MISMATCH)
            .with_hint("It must be TIMESTAMP or TIMESTAMPTZ: cast it in a sub-query.")
            .at(at));
        }
        Ok(column)
    }

    /// The column of `input` that `expr` names.
    fn column(
        &self,
        what: &str,
        expr: &Expr,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<datafusion::common::Column> {
        let at = position(expr, self.position);
        let planned = context.sql_to_expr(expr.clone(), input.schema()).map_err(|error| translate(error, Some(at)))?;
        let LogicalExpr::Column(column) = planned else {
            let name = self.shown();
            let place = if what == "key" { " PARTITION BY x, time" } else { ", x" };
            return Err(self
                .error(format!("the {what} of {name} is a column, not an expression"))
                .with_hint(format!(
                    "Compute it in a sub-query: {name}((SELECT *, expression AS x FROM relation){place}, ...)."
                ))
                .at(at));
        };
        Ok(column)
    }

    /// A positive interval.
    fn length(&self, name: &str, expr: &Expr, context: &mut dyn RelationPlannerContext) -> Result<i64> {
        let us = self.interval(name, expr, context)?;
        if us > 0 {
            return Ok(us);
        }
        Err(Error::invalid(format!("argument \"{name}\" of {} must be longer than nothing", self.shown()))
            .with_hint("Write for instance INTERVAL '10 seconds'.")
            .at(position(expr, self.position)))
    }

    /// A constant interval in microseconds.
    fn interval(&self, name: &str, expr: &Expr, context: &mut dyn RelationPlannerContext) -> Result<i64> {
        let at = position(expr, self.position);
        let planned =
            context.sql_to_expr(expr.clone(), &DFSchema::empty()).map_err(|error| translate(error, Some(at)))?;
        let value = match planned {
            LogicalExpr::Literal(value, _) => value.cast_to(&SqlType::Interval.arrow()).ok(),
            LogicalExpr::Cast(cast) => match cast.expr.as_ref() {
                LogicalExpr::Literal(value, _) => value.cast_to(&SqlType::Interval.arrow()).ok(),
                _ => None,
            },
            _ => None,
        };
        let Some(ScalarValue::IntervalMonthDayNano(Some(interval))) = value else {
            return Err(Error::invalid(format!("argument \"{name}\" of {} is a constant interval", self.shown()))
                .with_code(sqlstate::DATATYPE_MISMATCH)
                .with_hint("Write for instance INTERVAL '10 seconds'.")
                .at(at));
        };
        if interval.months != 0 {
            return Err(Error::unsupported("windows of months and years are not supported: they differ in length")
                .with_hint("Write days, or group by date_trunc('month', time).")
                .at(at));
        }
        Ok(i64::from(interval.days) * 86_400_000_000 + interval.nanoseconds / 1_000)
    }

    fn shown(&self) -> String {
        self.name.to_uppercase()
    }

    fn error(&self, message: String) -> Error {
        Error::syntax(message).at(self.position)
    }
}

fn usage(name: &str) -> &'static str {
    match name {
        "cumulate" => "CUMULATE(relation, time, INTERVAL 'step', INTERVAL 'size' [, INTERVAL 'offset'])",
        "session" => "SESSION(relation [PARTITION BY column], time, INTERVAL 'gap')",
        "hop" => "HOP(relation, time, INTERVAL 'slide', INTERVAL 'size' [, INTERVAL 'offset'])",
        _ => "TUMBLE(relation, time, INTERVAL 'size' [, INTERVAL 'offset'])",
    }
}

fn argument(arg: &FunctionArg) -> Option<(Option<String>, Expr)> {
    let (name, value) = match arg {
        FunctionArg::Unnamed(value) => (None, value),
        FunctionArg::Named { name, arg, .. } => (Some(fold(name)), arg),
        FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => (Some(fold(name)), arg),
        FunctionArg::ExprNamed { arg, .. } => (None, arg),
    };
    match value {
        FunctionArgExpr::Expr(expr) => Some((name.map(|name| name.to_lowercase()), expr.clone())),
        FunctionArgExpr::QualifiedWildcard(_) | FunctionArgExpr::Wildcard | FunctionArgExpr::WildcardWithOptions(_) => {
            None
        }
    }
}

/// `DESCRIPTOR(ts)` is `ts`.
fn descriptor(expr: &Expr) -> &Expr {
    if let Expr::Function(function) = expr
        && function.name.to_string().eq_ignore_ascii_case("descriptor")
        && let FunctionArguments::List(list) = &function.args
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))] = list.args.as_slice()
    {
        return inner;
    }
    expr
}

fn position(expr: &Expr, otherwise: usize) -> usize {
    let at = expr.span().start.column as usize;
    if at > 0 { at } else { otherwise }
}

fn table(idents: Vec<Ident>) -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(idents),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}
