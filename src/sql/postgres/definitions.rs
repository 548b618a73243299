//! Objects as the statements that make them: what `pg_get_viewdef`, `pg_get_indexdef` and their kin print.

use super::names::quote;
use crate::catalog::postgres::{constraint_oid, key_index_oid, relation_of_oid};
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::sql::parse::parse;
use crate::sql::statement::{CreateFunction, FunctionParameter, OptionValue, Statement};

/// The statement that made `relation`; `None` when nobody wrote one.
fn statement(relation: &Relation) -> Option<Statement> {
    Some(parse(&relation.sql).ok()?.into_iter().next()?.statement)
}

/// The function that a user made with that number.
pub(super) fn function(catalog: &Catalog, oid: u32) -> Option<(CreateFunction, String)> {
    let relation = relation_of_oid(catalog, oid).filter(|relation| relation.kind == RelationKind::Function)?;
    match statement(&relation)? {
        Statement::CreateFunction(function) => Some((*function, relation.sql.clone())),
        _ => None,
    }
}

/// A type as `format_type` writes it.
pub(super) fn type_name(ty: &sqlparser::ast::DataType) -> String {
    function_type(ty).map_or_else(|| ty.to_string().to_lowercase(), |ty| ty.to_string())
}

/// The type that a function takes or gives.
pub(super) fn function_type(ty: &sqlparser::ast::DataType) -> Option<crate::types::SqlType> {
    crate::sql::bind::type_of(ty).ok()
}

/// Its parameters as `\df` shows them: `a integer, b text`.
pub(super) fn function_parameters(function: &CreateFunction) -> String {
    let one = |parameter: &FunctionParameter| match &parameter.name {
        Some(name) => format!("{} {}", quote(&name.name), type_name(&parameter.data_type)),
        None => type_name(&parameter.data_type),
    };
    function.parameters.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The query of a view as it was written.
pub(super) fn view(relation: &Relation) -> Option<String> {
    match statement(relation)? {
        Statement::CreateView(view) | Statement::CreateMaterializedView(view) => Some(format!(" {};", view.query_text)),
        _ => None,
    }
}

/// What a source or table is connected to: the connector's name and its options, apart from what may be secret.
pub(super) fn connector(relation: &Relation) -> Option<(String, Vec<String>)> {
    const SECRETS: [&str; 6] = ["password", "secret", "sasl", "ssl", "key", "token"];
    let options = match statement(relation)? {
        Statement::CreateSource(create) | Statement::CreateTable(create) => create.options,
        _ => return None,
    };
    let connector = options.values.get("connector")?.text.clone();
    let open = options
        .values
        .iter()
        .filter(|(key, _)| *key != "connector" && !SECRETS.iter().any(|secret| key.contains(secret)));
    let told = |(key, value): (&String, &OptionValue)| match &value.secret {
        Some(secret) => format!("{key}=SECRET {secret}"),
        None => format!("{key}={}", value.text),
    };
    Some((connector, open.map(told).collect()))
}

/// The name of the index that keeps a primary key.
pub(super) fn index_name(relation: &Relation) -> String {
    format!("{}_pkey", relation.name)
}

/// An index: of a primary key, or one that a user made.
pub(super) struct Index<'a> {
    pub name: String,
    pub oid: u32,
    /// Whose rows it finds.
    pub of: &'a Relation,
    /// By which columns, by their places.
    pub columns: Vec<usize>,
    /// Whether it keeps the primary key.
    pub primary: bool,
}

impl Index<'_> {
    /// Its columns, as SQL names them.
    pub fn column_names(&self) -> Vec<String> {
        let columns = &self.of.columns.columns;
        self.columns.iter().filter_map(|&column| columns.get(column)).map(|column| quote(&column.name)).collect()
    }

    /// The statement that makes it.
    pub fn definition(&self) -> String {
        let unique = if self.primary { "UNIQUE " } else { "" };
        let (name, schema, relation) = (quote(&self.name), quote(&self.of.schema_name), quote(&self.of.name));
        let columns = self.column_names().join(", ");
        format!("CREATE {unique}INDEX {name} ON {schema}.{relation} USING btree ({columns})")
    }
}

/// All indexes.
pub(super) fn indexes(catalog: &Catalog) -> Vec<Index<'_>> {
    let mut found = Vec::new();
    for relation in catalog.relations() {
        if super::names::has_key_index(relation) {
            found.push(Index {
                name: index_name(relation),
                oid: key_index_oid(relation),
                of: relation,
                columns: relation.primary_key.clone(),
                primary: true,
            });
        }
        let RelationKind::Index(owner) = relation.kind else { continue };
        let Some(of) = catalog.relations().find(|other| other.id == owner) else { continue };
        let Some(Statement::CreateIndex(create)) = statement(relation) else { continue };
        let columns = create.columns.iter().filter_map(|column| of.columns.index_of(&column.name)).collect();
        let oid = crate::catalog::postgres::relation_oid(relation);
        found.push(Index { name: relation.name.clone(), oid, of, columns, primary: false });
    }
    found
}

/// The statement that makes the index with that number, or the name of its column `column` (from 1).
pub(super) fn index(catalog: &Catalog, oid: u32, column: usize) -> Option<String> {
    let index = indexes(catalog).into_iter().find(|index| index.oid == oid)?;
    match column.checked_sub(1) {
        None => Some(index.definition()),
        Some(place) => index.column_names().into_iter().nth(place),
    }
}

/// The constraint with that number.
pub(super) fn constraint(catalog: &Catalog, oid: u32) -> Option<String> {
    let relation = catalog.relations().find(|r| super::names::has_key_index(r) && constraint_oid(r) == oid)?;
    Some(key_constraint(relation))
}

/// `PRIMARY KEY (a, b)`.
fn key_constraint(relation: &Relation) -> String {
    let columns = &relation.columns.columns;
    let names = relation.primary_key.iter().filter_map(|&column| columns.get(column));
    format!("PRIMARY KEY ({})", names.map(|column| quote(&column.name)).collect::<Vec<_>>().join(", "))
}

/// The query of the view with that number.
pub(super) fn view_of(catalog: &Catalog, oid: u32) -> Option<String> {
    view(&*relation_of_oid(catalog, oid)?)
}
