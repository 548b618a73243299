//! Operators against DataFusion: at every epoch of random input, the batch answer of the same query in SQL.
//!
//! The oracles beside each operator go further (faults, windows, watermarks); this one shares no code with it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;

use super::workbench::{Case, Moment, RandomRows, ZSet, run_cases, schema};
use super::{AggregateSpec, ChainSpec, Emit, JoinSpec, OperatorSpec, Step};
use crate::base::random::Random;
use crate::functions::{
    AggregateCall, AggregateFunction, BinaryOp, Expr, FloatBits, Literal, Named, Order, Value, session_config,
    session_state_builder,
};
use crate::types::{DeltaBatch, Schema, SqlType};

/// The rows of `sql` over `tables`, as a Z-set of `output`.
fn batch_answer(tables: &[(&str, &ZSet)], sql: &str, output: &Schema) -> ZSet {
    let config = session_config().with_target_partitions(1);
    let context = SessionContext::new_with_state(session_state_builder().with_config(config).build());
    for (name, contents) in tables {
        let batch = contents.batch();
        let copies = (0..batch.len() as u64).flat_map(|row| vec![row; batch.weights.get(row as usize) as usize]);
        let rows = batch.take(&copies.collect::<Vec<_>>()).unwrap().rows;
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
        context.register_table(*name, Arc::new(table)).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = runtime.block_on(async { context.sql(sql).await?.collect().await });
    let batches = answer.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut found = ZSet::new(output.clone());
    for batch in batches {
        let types = output.types();
        let columns = batch.columns().iter().zip(types).map(|(column, ty)| cast(column, &ty.arrow()).unwrap());
        let rows = RecordBatch::try_new(output.arrow(), columns.collect()).unwrap();
        found.add(&DeltaBatch::inserts(rows));
    }
    found
}

/// A case of `spec` whose answer is that of `sql` over inputs called `l` and `r`.
fn case(spec: OperatorSpec, inputs: Vec<Schema>, retracts: bool, sql: String) -> Case {
    let outputs = spec.outputs().unwrap();
    Case {
        inputs: inputs.into_iter().map(RandomRows::new).collect(),
        retracts,
        window_end: None,
        answer: Box::new(move |moment: &Moment<'_>| {
            let tables: Vec<(&str, &ZSet)> = ["l", "r"].into_iter().zip(moment.inputs).collect();
            let mut found: Vec<ZSet> = outputs.iter().map(|output| ZSet::new(output.clone())).collect();
            found[0] = batch_answer(&tables, &sql, &outputs[0]);
            found
        }),
        emitted: None,
        spec,
    }
}

fn random_call(random: &mut Random, input: &Schema) -> AggregateCall {
    use AggregateFunction::*;
    let functions = [
        CountStar,
        Count,
        Sum,
        Avg,
        Min,
        Max,
        VarSamp,
        StddevPop,
        Corr,
        BitXor,
        StringAgg,
        ArrayAgg,
        FirstValue,
        PercentileDisc,
        Mode,
    ];
    let function = *random.pick(&functions).unwrap();
    let any = random.below(input.columns.len() as u64) as usize;
    let mut number = || *random.pick(&[0, 2, 3, 4]).unwrap();
    let columns = match function {
        CountStar => Vec::new(),
        Count | Min | Max | FirstValue | ArrayAgg | Mode | PercentileDisc => vec![any],
        Sum | Avg => vec![number()],
        // Squares of column 3 are beyond doubles.
        VarSamp | StddevPop => vec![4],
        Corr => vec![5, 2],
        StringAgg => vec![1, 1],
        _ => vec![0],
    };
    let filter = Expr::binary(BinaryOp::Less, Expr::Column(2), Expr::Literal(Literal::bigint(1)));
    let distinct = matches!(function, Count | Sum | Avg | Min | Max | VarSamp) && random.one_in(3);
    let mut args: Vec<Expr> = columns.into_iter().map(Expr::Column).collect();
    let (descending, nulls_first) = (random.one_in(2), random.one_in(2));
    let order = |expr: Expr| vec![Order { expr, descending, nulls_first }];
    let order = match function {
        FirstValue | StringAgg | ArrayAgg => order(Expr::Column(3)),
        Mode | PercentileDisc => order(args[0].clone()),
        _ => Vec::new(),
    };
    if function == PercentileDisc {
        let value = Value::Float(FloatBits::from(*random.pick(&[0.0, 0.25, 0.5, 1.0]).unwrap()));
        args.push(Expr::Literal(Literal { ty: SqlType::Double, value }));
    }
    let filter = random.one_in(3).then_some(filter);
    AggregateCall::new(function, args, distinct, filter, input).unwrap().ordered_by(order)
}

fn call_sql(call: &AggregateCall, input: &Schema) -> String {
    call.text(|expr| Named { expr, input }.to_string())
}

#[test]
fn aggregate_is_datafusions_group_by() {
    run_cases("operators::tests::aggregate_is_datafusions_group_by", 48, |random| {
        let input = schema("k bigint, g varchar, x bigint, y double, n numeric, s int, ts timestamp");
        let keys: Vec<usize> = [0, 1, 6].into_iter().filter(|_| random.one_in(2)).collect();
        let calls: Vec<_> = (0..1 + random.below(4)).map(|_| random_call(random, &input)).collect();
        let names: Vec<String> = keys.iter().map(|&key| input.columns[key].name.clone()).collect();
        let mut shown = names.clone();
        // An alias each: two equal calls are two columns.
        shown.extend(calls.iter().enumerate().map(|(i, call)| format!("{} AS c{i}", call_sql(call, &input))));
        let group_by = if names.is_empty() { String::new() } else { format!(" GROUP BY {}", names.join(", ")) };
        let sql = format!("SELECT {} FROM l{group_by}", shown.join(", "));
        let append_only = random.one_in(3);
        let spec = AggregateSpec { input: input.clone(), keys, calls, append_only, emit: Emit::Changes, free_on: None };
        case(OperatorSpec::Aggregate(spec), vec![input], !append_only, sql)
    });
}

#[test]
fn join_is_datafusions_join() {
    run_cases("operators::tests::join_is_datafusions_join", 12, |random| {
        let (left, right) = (schema("a bigint, b bigint, c varchar"), schema("d bigint, e bigint, f varchar"));
        let residual = random.one_in(2).then(|| Expr::binary(BinaryOp::Less, Expr::Column(1), Expr::Column(4)));
        let (on, mut condition) = match random.below(3) {
            0 => (vec![(0, 0), (2, 2)], "a = d AND c = f".to_owned()),
            _ => (vec![(0, 0)], "a = d".to_owned()),
        };
        condition.push_str(if residual.is_some() { " AND b < e" } else { "" });
        let sql = format!("SELECT a, b, c, d, e, f FROM l JOIN r ON {condition}");
        let spec = JoinSpec::inner(left.clone(), right.clone(), on, residual);
        case(OperatorSpec::Join(spec), vec![left, right], true, sql)
    });
}

#[test]
fn chain_is_datafusions_filter_and_projection() {
    run_cases("operators::tests::chain_is_datafusions_filter_and_projection", 12, |random| {
        let input = schema("a bigint, b bigint, c varchar");
        let compare = *random.pick(&[BinaryOp::Less, BinaryOp::Equal, BinaryOp::Distinct]).unwrap();
        let filter = Expr::binary(compare, Expr::Column(0), Expr::Column(1));
        let sum = Expr::binary(BinaryOp::Add, Expr::Column(0), Expr::Column(1));
        let sql = format!("SELECT c, a + b AS s FROM l WHERE a {} b", compare.symbol());
        let steps = vec![Step::Filter(filter), Step::Project(vec![("c".into(), Expr::Column(2)), ("s".into(), sum)])];
        case(OperatorSpec::Chain(ChainSpec { input: input.clone(), steps }), vec![input], true, sql)
    });
}
