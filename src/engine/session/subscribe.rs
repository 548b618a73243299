//! SUBSCRIBE: a relation's contents, then the changes of every epoch as they become visible.

use futures::StreamExt;

use crate::base::{Error, Result, sqlstate};
use crate::catalog::{Relation, RelationKind};
use crate::serving::{RowStream, Start, Subscription, subscription_rows, subscription_schema};
use crate::sql::Subscribe;
use crate::types::{Epoch, Schema};

use super::super::api::{Outcome, Tag};
use super::Work;

impl Work<'_> {
    /// SUBSCRIBE TO.
    pub(super) async fn subscribe(&mut self, subscribe: &Subscribe) -> Result<Outcome> {
        let (schema, rows) = self.changes(subscribe).await?;
        let notices = std::mem::take(&mut self.notices);
        Ok(Outcome::Rows { schema, rows, follows: true, tag: Tag::Counted("SUBSCRIBE"), notices })
    }

    /// The rows of a subscription, without end.
    pub(super) async fn changes(&mut self, subscribe: &Subscribe) -> Result<(Schema, RowStream)> {
        let name = &subscribe.relation;
        let relation =
            self.catalog().resolve(name.schema.as_deref(), &name.name).map_err(|error| error.at(name.position))?;
        check_published(&relation)?;
        let grant = self.grant(&[relation.id], Epoch::ZERO).await?;
        let (Some(view), Some(visible)) = (grant.views.into_iter().next(), grant.visible.into_iter().next()) else {
            return Err(Error::internal("relation was granted without its view"));
        };
        let start = match (subscribe.as_of, subscribe.snapshot) {
            (Some(epoch), _) => Start::After(Epoch(epoch)),
            (None, true) => Start::Snapshot,
            (None, false) => Start::Now,
        };
        let subscription = Subscription::begin(view, visible, start)?;
        let rows = subscription_rows(subscription, subscribe.progress).boxed();
        Ok((subscription_schema(&relation.columns), rows))
    }
}

/// Fails for what has no contents that could be followed.
fn check_published(relation: &Relation) -> Result<()> {
    let hint = match relation.kind {
        RelationKind::Table | RelationKind::MaterializedView | RelationKind::Late(_) | RelationKind::Faults(_) => {
            return Ok(());
        }
        RelationKind::Source => "Make a materialized view over it, and subscribe to that.",
        RelationKind::View => "Make it a materialized view, and subscribe to that.",
        RelationKind::Index(_) => "Subscribe to the relation whose index it is.",
        RelationKind::Function => "Call it in the query of a materialized view, and subscribe to that.",
        RelationKind::Sink => "Subscribe to the relation that the sink sends.",
        RelationKind::System => "Read it with SELECT.",
    };
    Err(Error::unsupported(format!("{} cannot be subscribed to", relation.title()))
        .with_code(sqlstate::WRONG_OBJECT_TYPE)
        .with_hint(hint))
}
