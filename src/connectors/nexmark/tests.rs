//! Events by number: the same from any cut, in proportion, in and out of order.

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use super::*;

fn generator(options: NexmarkOptions) -> Nexmark {
    let schema = options.schema();
    Nexmark::new(options, &schema).unwrap()
}

#[test]
fn cutting_changes_nothing() {
    for table in [NexmarkTable::Person, NexmarkTable::Auction, NexmarkTable::Bid, NexmarkTable::All] {
        let options = NexmarkOptions { out_of_order_group: 20, first_event: 17, ..NexmarkOptions::new(table) };
        let nexmark = generator(options);
        let whole = nexmark.rows(0, 1000).unwrap();
        let parts: Vec<_> = (0..10).map(|part| nexmark.rows(part * 100, part * 100 + 100).unwrap()).collect();
        assert_eq!(whole, concat_batches(&whole.schema(), &parts).unwrap());
    }
}

#[test]
fn proportions_and_first_rows() {
    let rows = |table| generator(NexmarkOptions::new(table)).rows(0, 500).unwrap();
    let (persons, auctions) = (rows(NexmarkTable::Person), rows(NexmarkTable::Auction));
    let (bids, all) = (rows(NexmarkTable::Bid), rows(NexmarkTable::All));
    assert_eq!((persons.num_rows(), auctions.num_rows(), bids.num_rows(), all.num_rows()), (10, 30, 460, 500));
    assert_eq!(persons.column(1).as_string::<i32>().value(0), "vicky noris");
    assert_eq!(persons.column(0).as_primitive::<Int64Type>().value(9), 1009);
    let kinds = all.column(0).as_primitive::<Int64Type>();
    assert_eq!(kinds.values().iter().filter(|&&kind| kind == 2).count(), 460);
}

#[test]
fn event_time_goes_by_the_rate_and_sets_back_within_a_group() {
    let times = |group| {
        let options = NexmarkOptions { out_of_order_group: group, ..NexmarkOptions::new(NexmarkTable::All) };
        let rows = generator(options).rows(0, 1000).unwrap();
        rows.column(1).as_primitive::<TimestampMicrosecondType>().values().to_vec()
    };
    let (ordered, mut shuffled) = (times(1), times(100));
    assert!(ordered.is_sorted());
    assert_eq!(ordered[0], NexmarkOptions::BASE_TIME_MS as i64 * 1000);
    assert_eq!(ordered[999] - ordered[0], 100_000);
    assert!(!shuffled.is_sorted());
    shuffled.sort_unstable();
    assert_eq!(ordered, shuffled);
}

#[test]
fn what_it_has_not_is_refused() {
    let options = NexmarkOptions::new(NexmarkTable::Bid);
    let column = |name: &str, ty| Schema::new(vec![crate::types::Column::new(name, ty)]);
    let report = |columns| Nexmark::new(options.clone(), &columns).err().unwrap().report();
    assert!(report(column("prize", crate::types::SqlType::BigInt)).contains("\"price\""));
    assert!(report(column("price", crate::types::SqlType::Int)).contains("bigint"));
    let group = NexmarkOptions { out_of_order_group: STRIDE * 2, ..options.clone() };
    assert!(Nexmark::new(group, &Schema::default()).is_err());
    let price = column("price", crate::types::SqlType::BigInt);
    assert_eq!(Nexmark::new(options, &price).unwrap().rows(0, 50).unwrap().num_columns(), 1);
}
