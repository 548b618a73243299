//! The catalog: names, dependents, JSON.

use std::collections::BTreeSet;

use super::*;
use crate::base::random::Random;
use crate::base::{Error, ErrorKind};
use crate::types::{Column, Epoch, JobId, RelationId, Schema, SqlType};

/// Adds `kind` `name` that depends on `needs`.
fn add(catalog: &mut Catalog, kind: RelationKind, name: &str, needs: &[&str]) -> RelationId {
    let id = catalog.allocate_relation();
    let mut relation = Relation::new(id, name, kind, Schema::new(vec![Column::new("a", SqlType::BigInt)]));
    if kind.owner().is_none() {
        relation.sql = format!("CREATE {} {name} ...", kind.noun().to_uppercase());
    }
    relation.depends_on = needs.iter().map(|name| find(catalog, name).id).collect();
    catalog.create(relation).unwrap().id
}

/// A relation by `name` or `schema.name`.
fn find(catalog: &Catalog, path: &str) -> std::sync::Arc<Relation> {
    match path.split_once('.') {
        Some((schema, name)) => catalog.resolve(Some(schema), name).unwrap(),
        None => catalog.resolve(None, path).unwrap(),
    }
}

/// bids → hot → top → alerts (sink); hot has late rows and faults; a view reads the late rows.
fn example() -> Catalog {
    let mut catalog = Catalog::new();
    add(&mut catalog, RelationKind::Source, "bids", &[]);
    let hot = add(&mut catalog, RelationKind::MaterializedView, "hot", &["bids"]);
    add(&mut catalog, RelationKind::Late(hot), "hot", &[]);
    add(&mut catalog, RelationKind::Faults(hot), "hot", &[]);
    add(&mut catalog, RelationKind::MaterializedView, "top", &["hot", "bids"]);
    add(&mut catalog, RelationKind::Sink, "alerts", &["top"]);
    add(&mut catalog, RelationKind::View, "tardy", &["ms_late.hot"]);
    catalog
}

fn paths(relations: &[std::sync::Arc<Relation>]) -> Vec<String> {
    relations.iter().map(|relation| relation.path()).collect()
}

fn line(error: &Error) -> String {
    format!("{} {}", error.sqlstate(), error.report())
}

#[test]
fn names_are_found_along_the_search_path() {
    let catalog = example();
    assert_eq!(find(&catalog, "hot").kind, RelationKind::MaterializedView);
    assert_eq!(find(&catalog, "public.hot").id, find(&catalog, "hot").id);
    assert_eq!(find(&catalog, "ms_late.hot").title(), "late rows \"ms_late.hot\"");
    assert_eq!(find(&catalog, "ms_jobs").id, find(&catalog, "ms_catalog.ms_jobs").id);
    assert_eq!(catalog.by_id(find(&catalog, "ms_jobs").id).unwrap().title(), "system view \"ms_jobs\"");
    for (schema, name, expected) in [
        (None, "bid", "42P01 relation \"bid\" does not exist\nHINT: Did you mean \"bids\"?"),
        (None, "ms_job", "42P01 relation \"ms_job\" does not exist\nHINT: Did you mean \"ms_jobs\"?"),
        (None, "zebra", "42P01 relation \"zebra\" does not exist"),
        (Some("ms_lat"), "hot", "3F000 schema \"ms_lat\" does not exist\nHINT: Did you mean \"ms_late\"?"),
        (
            Some("ms_catalog"),
            "bids",
            "42P01 relation \"ms_catalog.bids\" does not exist\nHINT: There is \"public.bids\".",
        ),
        (
            Some("ms_late"),
            "bids",
            "42P01 relation \"ms_late.bids\" does not exist\nHINT: Late rows are kept only where windows close: this \
             relation has no gate.",
        ),
    ] {
        assert_eq!(line(&catalog.resolve(schema, name).unwrap_err()), expected);
    }
}

#[test]
fn names_are_taken_once() {
    let mut catalog = example();
    let mut refused = |name: &str, schema: Option<&str>, kind, columns: &[&str]| {
        let columns = columns.iter().map(|name| Column::new(*name, SqlType::Int)).collect();
        let mut relation = Relation::new(catalog.allocate_relation(), name, kind, Schema::new(columns));
        if let Some(schema) = schema {
            relation.schema_name = schema.into();
        }
        line(&catalog.create(relation).unwrap_err())
    };
    assert_eq!(
        refused("hot", None, RelationKind::Table, &["a"]),
        "42P07 materialized view \"hot\" already exists\nHINT: Choose another name, drop it first, or write IF NOT EXISTS."
    );
    assert!(refused("x", None, RelationKind::Table, &["a", "b", "a"]).starts_with("42701 column \"a\" of table \"x\""));
    assert!(refused("x", Some("ms_catalog"), RelationKind::Table, &[]).starts_with("42501 a table cannot be created"));
    assert!(refused("x", Some("publik"), RelationKind::Table, &[]).ends_with("HINT: Did you mean \"public\"?"));
    assert!(refused("ms_x", None, RelationKind::System, &[]).starts_with("42501"));
    assert!(refused(&"x".repeat(256), None, RelationKind::Table, &[]).starts_with("42622"));
    assert!(refused("", None, RelationKind::Table, &[]).starts_with("42622"));
    let mut orphan = Relation::new(catalog.allocate_relation(), "x", RelationKind::View, Schema::default());
    orphan.depends_on = BTreeSet::from([RelationId(999)]);
    assert_eq!(catalog.create(orphan).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn dropping_names_dependents_and_takes_what_belongs() {
    let mut catalog = example();
    let bids = find(&catalog, "bids").id;
    let error = catalog.drop(bids, false).unwrap_err();
    assert_eq!(
        line(&error),
        "2BP01 cannot drop source \"bids\" because other relations depend on it\n\
         DETAIL: Materialized view \"hot\" depends on source \"bids\".\n\
         Materialized view \"top\" depends on source \"bids\".\n\
         Materialized view \"top\" depends on materialized view \"hot\".\n\
         Sink \"alerts\" depends on materialized view \"top\".\n\
         View \"tardy\" depends on late rows \"ms_late.hot\".\n\
         HINT: Drop them first, or write DROP ... CASCADE to drop them too."
    );
    let alerts = find(&catalog, "alerts").id;
    assert_eq!(paths(&catalog.drop(alerts, false).unwrap()), ["alerts"]);
    let top = find(&catalog, "top").id;
    assert_eq!(paths(&catalog.drop(top, false).unwrap()), ["top"]);
    let hot = find(&catalog, "hot").id;
    assert!(catalog.drop(hot, false).unwrap_err().detail().unwrap().contains("tardy"));
    let tardy = find(&catalog, "tardy").id;
    catalog.drop(tardy, false).unwrap();
    assert_eq!(paths(&catalog.drop(hot, false).unwrap()).last().unwrap(), "hot");
    assert!(catalog.find(Some("ms_late"), "hot").is_none() && catalog.find(Some("ms_faults"), "hot").is_none());
    assert_eq!(catalog.relations().len(), 1);
    let mut catalog = example();
    let dropped = catalog.drop(bids, true).unwrap();
    assert_eq!(paths(&dropped).last().unwrap(), "bids");
    assert_eq!(dropped.len(), 7);
    assert_eq!(catalog.relations().len(), 0);
    let again = add(&mut catalog, RelationKind::Source, "bids", &[]);
    assert_eq!(again, RelationId(8), "numbers are never used again");
}

#[test]
fn replacing_keeps_the_name_and_makes_no_circle() {
    let mut catalog = Catalog::new();
    let a = add(&mut catalog, RelationKind::View, "a", &[]);
    let b = add(&mut catalog, RelationKind::View, "b", &["a"]);
    let mut changed = (*catalog.by_id(a).unwrap()).clone();
    changed.comment = Some("x".into());
    catalog.replace(changed.clone()).unwrap();
    assert_eq!(find(&catalog, "a").comment.as_deref(), Some("x"));
    changed.depends_on = BTreeSet::from([b]);
    assert_eq!(catalog.replace(changed.clone()).unwrap_err().sqlstate(), "42P16");
    changed.depends_on = BTreeSet::from([a]);
    assert!(catalog.replace(changed.clone()).is_err());
    changed.name = "c".into();
    assert_eq!(catalog.replace(changed).unwrap_err().kind(), ErrorKind::Internal);
    // `a` made again over a newer view: it has the smaller number, yet comes later.
    let c = add(&mut catalog, RelationKind::View, "c", &[]);
    let mut changed = (*catalog.by_id(a).unwrap()).clone();
    changed.depends_on = BTreeSet::from([c]);
    catalog.replace(changed).unwrap();
    assert_eq!(paths(&catalog.creation_order()), ["c", "a", "b"]);
    assert_eq!(paths(&catalog.drop_order(c, true).unwrap()), ["b", "a", "c"]);
}

#[test]
fn a_clone_is_not_touched() {
    let mut catalog = example();
    let before = catalog.clone();
    let bids = find(&catalog, "bids").id;
    catalog.drop(bids, true).unwrap();
    assert_eq!(before, example());
    assert!(before.find(None, "hot").is_some());
}

#[test]
fn statements_are_shown_again() {
    let catalog = example();
    assert_eq!(
        catalog.dump(),
        "CREATE SOURCE bids ...;\nCREATE MATERIALIZED VIEW hot ...;\nCREATE MATERIALIZED VIEW top ...;\n\
         CREATE SINK alerts ...;\nCREATE VIEW tardy ...;\n"
    );
    assert_eq!(find(&catalog, "ms_late.hot").show_create().unwrap_err().sqlstate(), "42809");
    let error = find(&catalog, "hot").require(RelationKind::View).unwrap_err();
    assert_eq!(
        line(&error),
        "42809 \"hot\" is not a view\nHINT: It is a materialized view: name it with MATERIALIZED VIEW."
    );
    assert!(find(&catalog, "hot").require(RelationKind::MaterializedView).is_ok());
}

#[test]
fn json_golden_and_round_trip() {
    // This text is in the manifests of data directories in use.
    let golden = r#"{"version":1,"next_relation":6,"next_job":4,"relations":[
        {"id":3,"schema_name":"public","name":"t","kind":"table","columns":{"columns":[
            {"name":"a","ty":"big_int","nullable":false},
            {"name":"d","ty":{"decimal":{"precision":12,"scale":2}},"nullable":true}]},
         "sql":"CREATE TABLE t (...)","primary_key":[0],
         "watermark":{"column":1,"expression":{"op":"minus"}},"append_only":true,"job":3,"graph":"{}","created":7,
         "comment":"c"},
        {"id":4,"schema_name":"ms_faults","name":"t","kind":{"faults":3},"columns":{"columns":[]},"append_only":false,
         "created":7},
        {"id":5,"schema_name":"public","name":"v","kind":"materialized_view","columns":{"columns":[]},
         "append_only":false,"created":8,"depends_on":[3,4]}]}"#;
    let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
    let catalog = Catalog::from_json(&golden).unwrap();
    assert_eq!(catalog.to_json().unwrap(), golden);
    let table = find(&catalog, "t");
    assert_eq!((table.created, table.primary_key.clone(), table.job), (Epoch(7), vec![0], Some(JobId(3))));
    assert_eq!(catalog.by_job(JobId(3)).unwrap().id, RelationId(3));
    let example = example();
    assert_eq!(Catalog::from_json(&example.to_json().unwrap()).unwrap(), example);
    let broken = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = golden.clone();
        change(&mut json);
        let error = Catalog::from_json(&json).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        error.message().to_owned()
    };
    let newer = broken(&|json| json["version"] = 4.into());
    assert_eq!(newer, "catalog has version 4; this program reads versions 1 to 3");
    assert!(broken(&|json| json["next_relation"] = 5.into()).ends_with("has a number that was not given out"));
    assert!(broken(&|json| json["relations"][1]["id"] = 3.into()).ends_with("stands twice"));
    assert!(broken(&|json| json["relations"][2]["depends_on"] = vec![1].into()).ends_with("that is not there"));
    assert!(broken(&|json| json["relations"][0]["kind"] = "tible".into()).contains("tible"));
}

#[test]
fn random_histories_keep_order_and_json() {
    let given = std::env::var("MILLSTREAM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(crate::base::random::fresh_seed);
    eprintln!("MILLSTREAM_SEED={seed}");
    let mut random = Random::new(seed);
    let mut catalog = Catalog::new();
    for step in 0..300 {
        let known: Vec<String> = catalog.relations().map(|relation| relation.path()).collect();
        if random.one_in(6)
            && let Some(path) = random.pick(&known)
        {
            let id = find(&catalog, path).id;
            let before = catalog.clone();
            let dropped = catalog.drop(id, true).unwrap();
            let gone: BTreeSet<_> = dropped.iter().map(|relation| relation.id).collect();
            assert_eq!(gone.len() + catalog.relations().len(), before.relations().len());
            for (place, relation) in dropped.iter().enumerate() {
                let later: BTreeSet<_> = dropped[place + 1..].iter().map(|relation| relation.id).collect();
                let needs = relation.depends_on.iter().copied().chain(relation.kind.owner());
                assert!(needs.filter(|id| gone.contains(id)).all(|id| later.contains(&id)), "seed {seed}");
            }
            assert_eq!(before.drop_order(id, false).is_ok(), dropped.len() == 1 + before.belongings(id).len());
        } else {
            let needs: BTreeSet<&str> =
                (0..random.below(3)).filter_map(|_| random.pick(&known)).map(String::as_str).collect();
            let needs: Vec<&str> = needs.into_iter().collect();
            let id = add(&mut catalog, RelationKind::MaterializedView, &format!("v{step}"), &needs);
            if random.one_in(3) {
                add(&mut catalog, RelationKind::Late(id), &format!("v{step}"), &[]);
            }
        }
        let json = catalog.to_json().unwrap();
        assert_eq!(Catalog::from_json(&json).unwrap(), catalog);
        let order: Vec<_> = catalog.creation_order().iter().map(|relation| relation.id).collect();
        assert_eq!(order.len(), catalog.relations().len());
    }
}

#[test]
fn deep_stacks_do_not_overflow() {
    let mut catalog = Catalog::new();
    add(&mut catalog, RelationKind::View, "v0", &[]);
    for level in 1..1_500 {
        add(&mut catalog, RelationKind::View, &format!("v{level}"), &[&format!("v{}", level - 1)]);
    }
    assert_eq!(catalog.creation_order().len(), 1_500);
    let bottom = find(&catalog, "v0").id;
    let error = catalog.drop(bottom, false).unwrap_err();
    assert!(error.detail().unwrap().ends_with("So do 1489 others."));
    assert_eq!(catalog.drop(bottom, true).unwrap().len(), 1_500);
}

#[test]
fn system_views_have_the_columns_of_the_dialect() {
    let columns = |name: &str| {
        let definition = system_view_definitions().iter().find(|definition| definition.name == name).unwrap();
        definition.schema.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>().join(", ")
    };
    for (name, expected) in [
        ("ms_jobs", "id, name, kind, state, reason, since, epoch, lag_ms"),
        (
            "ms_operators",
            "job_id, operator_id, worker, name, detail, rows_in, rows_out, busy_ms, state_rows, state_bytes, bounded_by",
        ),
        (
            "ms_sources",
            "name, split, position, rows_read, rows_decoded, rows_faulted, bytes_read, watermark, idle, state",
        ),
        ("ms_watermarks", "relation, operator, watermark, held_by_source, held_by_split, since"),
        ("ms_secrets", "name, owner, acl, comment"),
        ("ms_sinks", "name, state, reason, epoch_delivered, outbox_rows, outbox_bytes, rows_sent, lag_ms"),
        ("ms_workers", "process, worker, busy_ms, jobs"),
        ("ms_checkpoints", "id, epoch, started, duration_ms, bytes, rows, state"),
    ] {
        assert_eq!(columns(name), expected);
    }
}
