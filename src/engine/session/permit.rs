//! Who may run which statement: the one place where rights are checked. What a statement names outside of queries is judged
//! before it runs ([`Work::permit`]), what its queries read when they are bound ([`Work::permit_reads`] and its like).

use crate::base::Result;
use crate::catalog::{Catalog, Identity, Object, Privilege, RelationKind, schemas};
use crate::sql::{
    BoundChange, BoundConflict, BoundInsert, BoundQuery, Delete, Name, ObjectKind, Statement as Sql, Update, Use,
};

use super::super::author::Authored;
use super::super::ddl::Ddl;
use super::Work;
use super::access::denied;
use super::show::named;

impl Work<'_> {
    /// Fails with 42501 when `statement` needs a right that is not there, as far as its names tell without binding.
    pub(super) fn permit(&self, statement: &Sql) -> Result<()> {
        if self.identity.superuser {
            return Ok(());
        }
        let catalog = self.catalog();
        match statement {
            Sql::CreateSource(create) | Sql::CreateTable(create) => self.permit_create(&catalog, &create.name),
            // What it replaces must be the session's own: see `permit_authored`.
            Sql::CreateView(create) | Sql::CreateMaterializedView(create) => self.permit_create(&catalog, &create.name),
            Sql::CreateSink(create) => self.permit_create(&catalog, &create.name),
            Sql::CreateFunction(create) => self.permit_create(&catalog, &create.name),
            Sql::CreateIndex(create) => self.owns_named(&catalog, None, &create.relation),
            Sql::CreateSchema(_) => catalog.permit(&self.identity, &Object::Database, Privilege::Create),
            Sql::DropSchema(drop) if catalog.has_schema(&drop.name.name) => {
                self.owns(&catalog, Object::Schema(drop.name.name.clone()), drop.name.position)
            }
            Sql::Drop(drop) => drop.names.iter().try_for_each(|name| self.owns_named(&catalog, Some(drop.kind), name)),
            Sql::Rename(rename) => self.owns_named(&catalog, Some(rename.kind), &rename.name),
            Sql::Comment(comment) => self.owns_named(&catalog, comment.kind, &comment.name),
            Sql::Refresh(name) => self.owns_named(&catalog, Some(ObjectKind::MaterializedView), name),
            Sql::WaitFor(names) => names.iter().try_for_each(|name| self.permit_select(&catalog, name)),
            Sql::Subscribe(subscribe) => self.permit_select(&catalog, &subscribe.relation),
            Sql::Explain(explain) => match &explain.statement {
                create @ (Sql::CreateView(_) | Sql::CreateMaterializedView(_) | Sql::CreateSink(_)) => {
                    self.permit(create)
                }
                _ => Ok(()),
            },
            // Judged where they are bound, where they change roles and rights, or free to everyone.
            Sql::DropSchema(_)
            | Sql::Access(_)
            | Sql::Query(_)
            | Sql::Insert(_)
            | Sql::Update(_)
            | Sql::Delete(_)
            | Sql::Copy(_)
            | Sql::CopyIn(_)
            | Sql::Copied(_)
            | Sql::Show(_)
            | Sql::Describe(_)
            | Sql::Empty
            | Sql::Flush
            | Sql::Set(_)
            | Sql::Reset(_)
            | Sql::Begin
            | Sql::Commit
            | Sql::Rollback
            | Sql::Discard
            | Sql::Deallocate(_)
            | Sql::Prepare(_)
            | Sql::Execute(_)
            | Sql::Declare(_)
            | Sql::Fetch(_)
            | Sql::Close(_)
            | Sql::Savepoint(_)
            | Sql::RollbackTo(_)
            | Sql::Release(_)
            | Sql::Unlisten => Ok(()),
        }
    }

    /// Fails unless this session may make something in the schema where `name` would come to be.
    fn permit_create(&self, catalog: &Catalog, name: &Name) -> Result<()> {
        let schema = catalog.schema_to_create_in(name.schema.as_deref()).map_err(|error| error.at(name.position))?;
        let permitted = catalog.permit(&self.identity, &Object::Schema(schema), Privilege::Create);
        permitted.map_err(|error| error.at(name.position))
    }

    fn owns(&self, catalog: &Catalog, object: Object, position: usize) -> Result<()> {
        catalog.permit_owner(&self.identity, &object).map_err(|error| error.at(position))
    }

    /// Fails unless the relation belongs to this session, or the schema in which it is. What is not there is for the
    /// statement to say.
    fn owns_named(&self, catalog: &Catalog, kind: Option<ObjectKind>, name: &Name) -> Result<()> {
        let Ok(relation) = named(catalog, kind, name) else { return Ok(()) };
        if relation.kind == RelationKind::System {
            return Ok(());
        }
        let schema = Object::Schema(relation.schema_name.clone());
        if relation.schema_name != schemas::PUBLIC && catalog.permit_owner(&self.identity, &schema).is_ok() {
            return Ok(());
        }
        self.owns(catalog, Object::Relation(relation.id), name.position)
    }

    fn permit_select(&self, catalog: &Catalog, name: &Name) -> Result<()> {
        let Ok(relation) = named(catalog, None, name) else { return Ok(()) };
        let found = Use { relation, inside: None };
        self.permit_use(catalog, &found).map_err(|error| error.at(name.position))
    }

    /// Fails with 42501 when what a CREATE statement would make reads what this session may not read, or takes the place
    /// of what belongs to someone else (its number, owner and rights stay: whoever may use it would run the new text).
    pub(super) fn permit_authored(&self, authored: &Authored) -> Result<()> {
        if let Ddl::Replace(relation) = &authored.ddl {
            self.catalog().permit_owner(&self.identity, &Object::Relation(relation.id))?;
        }
        self.permit_uses(&authored.uses)
    }

    /// Fails with 42501 when `bound` reads what may not be read. What stands inside a view is read with the rights of the
    /// view's owner.
    pub(super) fn permit_reads(&self, bound: &BoundQuery) -> Result<()> {
        self.permit_uses(&bound.uses)
    }

    /// As [`Work::permit_reads`], for a statement that changes `table`, which it need not be allowed to read.
    pub(super) fn permit_change(
        &self,
        bound: &BoundQuery,
        table: &crate::catalog::Relation,
        reads: bool,
    ) -> Result<()> {
        let free = |one: &&Use| reads || one.inside.is_some() || one.relation.id != table.id;
        let uses: Vec<Use> = bound.uses.iter().filter(free).cloned().collect();
        self.permit_uses(&uses)
    }

    /// As [`Work::permit_reads`].
    fn permit_uses(&self, uses: &[Use]) -> Result<()> {
        if self.identity.superuser {
            return Ok(());
        }
        let catalog = self.catalog();
        uses.iter().try_for_each(|one| self.permit_use(&catalog, one))
    }

    fn permit_use(&self, catalog: &Catalog, one: &Use) -> Result<()> {
        let (relation, object) = (&one.relation, Object::Relation(one.relation.id));
        let privilege = match relation.kind {
            RelationKind::Function => Privilege::Execute,
            RelationKind::Source
            | RelationKind::Table
            | RelationKind::View
            | RelationKind::MaterializedView
            | RelationKind::Sink
            | RelationKind::Late(_)
            | RelationKind::Faults(_)
            | RelationKind::Index(_)
            | RelationKind::System => Privilege::Select,
        };
        let Some(view) = one.inside.and_then(|view| catalog.by_id(view)) else {
            // Late rows and faults stand in a schema that is open to all: the one of the relation whose they are counts.
            let ruling = relation.kind.owner().and_then(|owner| catalog.by_id(owner));
            let schema = ruling.map_or_else(|| relation.schema_name.clone(), |ruling| ruling.schema_name.clone());
            catalog.permit(&self.identity, &Object::Schema(schema), Privilege::Usage)?;
            return catalog.permit(&self.identity, &object, privilege);
        };
        let owner = catalog.relation_rights(&view).owner;
        let identity = catalog.access().identity(&owner).unwrap_or_else(|| Identity {
            superuser: false,
            roles: [owner.clone()].into(),
            ..Identity::trusted(&owner)
        });
        let permitted = catalog.permit(&identity, &object, privilege);
        permitted.map_err(|error| error.context(format!("in {}, whose owner's rights count", view.title())))
    }

    /// What INSERT needs.
    pub(super) fn permit_insert(&self, bound: &BoundInsert) -> Result<()> {
        self.permit_on(&bound.table, Privilege::Insert)?;
        self.permit_change(&bound.rows, &bound.table, true)?;
        if let Some(BoundConflict::Update { rows, .. }) = &bound.conflict {
            self.permit_on(&bound.table, Privilege::Update)?;
            self.permit_change(rows, &bound.table, true)?;
        }
        match &bound.returning {
            Some(returning) => self.permit_reads(returning),
            None => Ok(()),
        }
    }

    /// What UPDATE needs: to read the table only when it looks at its columns.
    pub(super) fn permit_update(&self, update: &Update, bound: &BoundChange) -> Result<()> {
        self.permit_on(&bound.table, Privilege::Update)?;
        self.permit_change(&bound.rows, &bound.table, update.looks_at_columns())?;
        match &bound.returning {
            Some(returning) => self.permit_reads(returning),
            None => Ok(()),
        }
    }

    /// What DELETE needs: to read the table only when it looks at its columns.
    pub(super) fn permit_delete(&self, delete: &Delete, bound: &BoundChange) -> Result<()> {
        let privilege = if delete.truncates { Privilege::Truncate } else { Privilege::Delete };
        self.permit_on(&bound.table, privilege)?;
        self.permit_change(&bound.rows, &bound.table, delete.selection.is_some())?;
        match &bound.returning {
            Some(returning) => self.permit_reads(returning),
            None => Ok(()),
        }
    }

    /// Fails with 42501 unless `table` may be changed so.
    pub(super) fn permit_on(&self, table: &crate::catalog::Relation, privilege: Privilege) -> Result<()> {
        let catalog = self.catalog();
        catalog.permit(&self.identity, &Object::Schema(table.schema_name.clone()), Privilege::Usage)?;
        catalog.permit(&self.identity, &Object::Relation(table.id), privilege)
    }
}

/// Fails with 42501 unless `identity` may set `name`: what all sessions feel is for superusers.
pub(super) fn permit_setting(identity: &Identity, name: &str) -> Result<()> {
    if identity.superuser || !name.eq_ignore_ascii_case("epoch") {
        return Ok(());
    }
    Err(denied("permission denied to set parameter \"epoch\"".into())
        .with_detail("It holds the epochs of all sessions.")
        .with_hint("A superuser can set it."))
}
