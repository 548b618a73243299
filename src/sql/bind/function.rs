//! CREATE FUNCTION bound: parameters, result, and the body as an expression over the parameters.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use sqlparser::ast::{self, Ident, VisitMut, VisitorMut};

use super::super::parse::{fold, parse};
use super::super::statement::{CreateFunction, Statement};
use super::provider::{Provider, without_position};
use super::types::sql_type;
use super::{BindMode, Binder};
use crate::base::{Error, Result, sqlstate};
use crate::catalog::Relation;
use crate::functions::{Expr, Literal, SqlBody, Test, can_cast, sql_function};
use crate::types::{Column, Schema, SqlType};

/// So many parameters a function may have.
const PARAMETERS_MAX: usize = 100;

/// A function as its CREATE statement defines it.
#[derive(Clone, Debug)]
pub struct BoundFunction {
    /// Its name with the types of its parameters: what the catalog calls it.
    pub signature: String,
    /// The parameters; those without a name are called by their number.
    pub parameters: Schema,
    /// The type of its result.
    pub returns: SqlType,
    /// The result, over the parameters.
    pub body: Expr,
    /// Functions of users that the body calls.
    pub relations: Vec<Arc<Relation>>,
}

/// What the catalog calls the function `name` with parameters of `types`.
pub fn function_signature(name: &str, types: &[ast::DataType]) -> Result<String> {
    let types = types.iter().map(|ty| Ok(sql_type(ty)?.to_string())).collect::<Result<Vec<_>>>()?;
    Ok(format!("{name}({})", types.join(", ")))
}

impl Binder<'_> {
    /// Defines a function.
    pub fn function(&self, create: &CreateFunction) -> Result<BoundFunction> {
        let name = create.name.name.as_str();
        let built_in = self.session.scalar_functions().contains_key(name)
            || self.session.aggregate_functions().contains_key(name)
            || self.session.window_functions().contains_key(name)
            || super::set_functions::list_function(name).is_some();
        if built_in {
            return Err(Error::invalid(format!("function \"{name}\" is built in"))
                .with_code("42723")
                .with_hint("Choose another name.")
                .at(create.name.position));
        }
        let provider = self.provider(BindMode::Stored);
        let (body, parameters, returns) = self.function_body(create, &provider)?;
        let types: Vec<ast::DataType> = create.parameters.iter().map(|one| one.data_type.clone()).collect();
        let signature = function_signature(&create.name.name, &types)?;
        let relations = provider.named.into_inner().into_values().collect();
        Ok(BoundFunction { signature, parameters, returns, body, relations })
    }

    pub(super) fn function_body(
        &self,
        create: &CreateFunction,
        provider: &Provider<'_>,
    ) -> Result<(Expr, Schema, SqlType)> {
        if create.parameters.len() > PARAMETERS_MAX {
            return Err(Error::limit(format!("a function takes at most {PARAMETERS_MAX} parameters"))
                .with_hint("Put several values into an array or a row.")
                .at(create.name.position));
        }
        let mut parameters = Schema::default();
        for (i, parameter) in create.parameters.iter().enumerate() {
            let ty = sql_type(&parameter.data_type).map_err(|error| error.at(parameter.position))?;
            let name = parameter.name.as_ref().map_or_else(|| format!("${}", i + 1), |name| name.name.clone());
            if parameters.index_of(&name).is_some() {
                return Err(Error::invalid(format!("parameter name \"{name}\" used more than once"))
                    .with_code("42P13")
                    .with_hint("Rename one of them.")
                    .at(parameter.position));
            }
            parameters.columns.push(Column { name, ty, nullable: true });
        }
        let returns = sql_type(&create.returns).map_err(|error| error.at(create.returns_position))?;
        let mut expression = create.body.as_ref().clone();
        let mut names = Names { function: &create.name.name, parameters: &parameters, missing: None };
        let _ = expression.visit(&mut names);
        if let Some(missing) = names.missing {
            return Err(Error::invalid(format!("there is no parameter {missing}"))
                .with_code(sqlstate::UNDEFINED_PARAMETER)
                .with_hint(format!("The function has {} parameters.", parameters.columns.len()))
                .at(create.name.position));
        }
        let body = self.expression_over(provider, &expression, &parameters).map_err(|error| {
            let hint = "The body is one expression over the parameters; what reads relations is a view to be joined.";
            let error = if error.hint().is_none() { error.with_hint(hint) } else { error };
            match create.body_position {
                Some(at) => without_position(error).at(at),
                None => error,
            }
        })?;
        let found = body.ty(&parameters)?;
        let body = match &body {
            Expr::Literal(literal) if literal.value == crate::functions::Value::Null => {
                Expr::Literal(Literal::null(returns.clone()))
            }
            _ if found == returns => body,
            _ if can_cast(&found, &returns) => body.cast(returns.clone()),
            _ => {
                return Err(Error::invalid(format!("the body of the function is of type {found}, not {returns}"))
                    .with_code("42P13")
                    .with_hint("Change RETURNS, or cast the result.")
                    .at(create.returns_position));
            }
        };
        Ok((if create.strict { strict(body, &parameters, &returns) } else { body }, parameters, returns))
    }
}

/// NULL where any parameter is, else `body`.
fn strict(body: Expr, parameters: &Schema, returns: &SqlType) -> Expr {
    let null = |i| Expr::Is { expr: Box::new(Expr::Column(i)), test: Test::Null, negated: false };
    let nulls: Vec<Expr> = (0..parameters.columns.len()).map(null).collect();
    if nulls.is_empty() {
        return body;
    }
    let none = Expr::Literal(Literal::null(returns.clone()));
    Expr::Case { branches: vec![(Expr::Or(nulls), none)], otherwise: Some(Box::new(body)) }
}

/// Makes `$1`, and `function.parameter`, the names of parameters.
struct Names<'a> {
    function: &'a str,
    parameters: &'a Schema,
    missing: Option<String>,
}

impl VisitorMut for Names<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        match expr {
            ast::Expr::Value(value) => {
                let ast::Value::Placeholder(number) = &value.value else { return ControlFlow::Continue(()) };
                let place = number.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
                let column = place.and_then(|place| self.parameters.columns.get(place.checked_sub(1)?));
                match column {
                    Some(column) => *expr = ast::Expr::Identifier(Ident::with_quote('"', &column.name)),
                    None => self.missing = Some(number.clone()),
                }
            }
            ast::Expr::CompoundIdentifier(parts) => {
                if let [function, parameter] = parts.as_slice()
                    && fold(function) == self.function
                    && self.parameters.index_of(&fold(parameter)).is_some()
                {
                    *expr = ast::Expr::Identifier(parameter.clone());
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The functions of users called `name`, as one: which of them is meant hangs on the arguments.
pub(super) fn user_function(provider: &Provider<'_>, name: &str, found: &[Arc<Relation>]) -> Result<Arc<ScalarUDF>> {
    let bodies = found.iter().map(|relation| {
        let broken = || Error::internal(format!("{} has no statement in the catalog", relation.title()));
        let statement = parse(&relation.sql)?.into_iter().next().ok_or_else(broken)?.statement;
        let Statement::CreateFunction(create) = statement else { return Err(broken()) };
        let binder = Binder::new(provider.catalog, provider.session);
        let (body, parameters, _) = provider.inside(relation, || binder.function_body(&create, provider))?;
        Ok(SqlBody { parameters: parameters.types(), body })
    });
    Ok(sql_function(name, bodies.collect::<Result<_>>()?))
}
