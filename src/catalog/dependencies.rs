//! What hangs on what: dropping with its dependents, in an order in which nothing ever hangs in the air.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::catalog::Catalog;
use super::relation::Relation;
use crate::base::{Error, Result, sqlstate};
use crate::types::RelationId;

/// So many dependents are named in a message; the rest is counted.
const NAMED_MAX: usize = 10;

impl Catalog {
    /// The relations whose definitions name `id`, by number. Late rows and faults of `id` belong to it: not these.
    pub fn dependents(&self, id: RelationId) -> Vec<Arc<Relation>> {
        self.relations.values().filter(|relation| relation.depends_on.contains(&id)).map(Arc::clone).collect()
    }

    /// What belongs to `id`: its late rows and faults.
    pub fn belongings(&self, id: RelationId) -> Vec<Arc<Relation>> {
        self.relations.values().filter(|relation| relation.kind.owner() == Some(id)).map(Arc::clone).collect()
    }

    /// What dropping `id` drops, in the order in which to do it: dependents before what they depend on, `id` last.
    /// Without `cascade` fails with 2BP01 when anything but what belongs to it depends on it, and names it.
    pub fn drop_order(&self, id: RelationId, cascade: bool) -> Result<Vec<Arc<Relation>>> {
        let Some(root) = self.relations.get(&id) else {
            return Err(Error::internal(format!("relation number {id} was dropped though it does not exist")));
        };
        let (order, reasons) = self.visit(root);
        if cascade || reasons.is_empty() {
            return Ok(order);
        }
        let mut detail: Vec<String> = reasons.iter().take(NAMED_MAX).map(|line| format!("{line}.")).collect();
        if reasons.len() > NAMED_MAX {
            detail.push(format!("So do {} others.", reasons.len() - NAMED_MAX));
        }
        Err(Error::invalid(format!("cannot drop {} because other relations depend on it", root.title()))
            .with_code(sqlstate::DEPENDENT_OBJECTS_EXIST)
            .with_detail(detail.join("\n"))
            .with_hint("Drop them first, or write DROP ... CASCADE to drop them too."))
    }

    /// Drops `id` and what [`Catalog::drop_order`] names, and gives that back in its order.
    pub fn drop(&mut self, id: RelationId, cascade: bool) -> Result<Vec<Arc<Relation>>> {
        let order = self.drop_order(id, cascade)?;
        for relation in &order {
            self.remove(relation);
        }
        Ok(order)
    }

    /// `root` and everything that must go before it, in that order, and why each dependent must.
    /// Depth-first with a stack of our own: views may be stacked deeper than a thread's stack is.
    fn visit(&self, root: &Arc<Relation>) -> (Vec<Arc<Relation>>, Vec<String>) {
        let (mut order, mut reasons, mut seen) = (Vec::new(), Vec::new(), BTreeSet::from([root.id]));
        let mut open = vec![(Arc::clone(root), self.hangers(root, &mut reasons))];
        while let Some((relation, hangers)) = open.last_mut() {
            match hangers.pop() {
                Some(next) if seen.insert(next.id) => {
                    let hangers = self.hangers(&next, &mut reasons);
                    open.push((next, hangers));
                }
                Some(_) => {}
                None => {
                    order.push(Arc::clone(relation));
                    open.pop();
                }
            }
        }
        (order, reasons)
    }

    /// What goes when `relation` goes, newest first; dependents are given their reason.
    fn hangers(&self, relation: &Relation, reasons: &mut Vec<String>) -> Vec<Arc<Relation>> {
        let dependents = self.dependents(relation.id);
        for dependent in &dependents {
            reasons.push(format!("{} depends on {}", capitalised(&dependent.title()), relation.title()));
        }
        // Popped from the end: the oldest dependent first, what belongs to it last.
        let mut hangers = self.belongings(relation.id);
        hangers.extend(dependents.into_iter().rev());
        hangers
    }

    /// Whether `from` depends on `to`, over any number of relations.
    pub(super) fn reaches(&self, from: RelationId, to: RelationId) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(id) = open.pop() {
            if id == to {
                return true;
            }
            if seen.insert(id)
                && let Some(relation) = self.relations.get(&id)
            {
                open.extend(relation.depends_on.iter().copied().chain(relation.kind.owner()));
            }
        }
        false
    }

    /// All relations in an order in which each comes after what it depends on; else by number.
    pub fn creation_order(&self) -> Vec<Arc<Relation>> {
        let needs = |relation: &Relation| -> Vec<RelationId> {
            let needed = relation.depends_on.iter().copied().chain(relation.kind.owner());
            needed.filter(|id| self.relations.contains_key(id)).collect()
        };
        let (mut order, mut seen) = (Vec::with_capacity(self.relations.len()), BTreeSet::new());
        for relation in self.relations.values() {
            let mut open = vec![(relation, needs(relation))];
            while let Some((relation, needed)) = open.last_mut() {
                match needed.pop().filter(|id| !seen.contains(id)).map(|id| self.relations.get(&id)) {
                    Some(next) => open.extend(next.map(|next| (next, needs(next)))),
                    None if needed.is_empty() => {
                        if seen.insert(relation.id) {
                            order.push(Arc::clone(relation));
                        }
                        open.pop();
                    }
                    None => {}
                }
            }
        }
        order
    }

    /// Statements that create everything again, in [`Catalog::creation_order`].
    pub fn dump(&self) -> String {
        let statements = self.creation_order().into_iter().filter_map(|relation| relation.show_create().ok());
        statements.map(|statement| statement + "\n").collect()
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
