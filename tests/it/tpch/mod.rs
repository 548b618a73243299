//! The 22 queries of TPC-H as views over tables that are loaded and then refreshed as the benchmark says (new orders
//! with their lines, old ones deleted) and updated, each equal to the batch.

mod data;

use crate::harness::{Server, block_on, full};
use crate::suite;

#[test]
fn views_equal_the_batch_through_refreshes() {
    block_on(async {
        let server = Server::start(&["--workers", "2"]);
        let db = server.connect().await;
        let scale = if full() { 0.01 } else { 0.0003 };
        data::write(server.folder(), scale);
        for table in data::TABLES {
            let columns = table.columns;
            db.run(&format!("CREATE TABLE {} ({columns}, PRIMARY KEY ({}))", table.name, table.key)).await;
            db.run(&format!(
                "CREATE SOURCE {0}_file ({columns}) WITH (connector = 'file', path = '{1}/{0}.csv') \
                 FORMAT PLAIN ENCODE CSV (header = true)",
                table.name,
                server.folder().display()
            ))
            .await;
        }
        let mut wrong = Vec::new();
        let made = suite::create(&db, &suite::queries("tpch"), &mut wrong).await;
        // A first load without the last tenth of the orders, which come as the first refresh.
        let orders = data::orders(scale);
        let last = orders * 9 / 10;
        for table in data::TABLES {
            let key = match table.name {
                "orders" => format!(" WHERE o_orderkey <= {last}"),
                "lineitem" => format!(" WHERE l_orderkey <= {last}"),
                _ => String::new(),
            };
            db.run(&format!("INSERT INTO {0} SELECT * FROM {0}_file{key}", table.name)).await;
        }
        suite::compare(&db, &made, "loaded", &mut wrong).await;
        for query in made.iter().filter(|_| full()) {
            if db.rows(&format!("SELECT * FROM {} LIMIT 1", query.name)).await.is_empty() {
                wrong.push(format!("{} has no rows to compare", query.name));
            }
        }
        let (middle, old) = ((last + orders) / 2, orders / 20);
        let steps = [
            (
                "the first new orders",
                format!(
                    "BEGIN; INSERT INTO orders SELECT * FROM orders_file WHERE o_orderkey > {last} AND o_orderkey <= {middle};
                     INSERT INTO lineitem SELECT * FROM lineitem_file WHERE l_orderkey > {last} AND l_orderkey <= {middle}; COMMIT"
                ),
            ),
            (
                "old orders gone",
                format!("DELETE FROM lineitem WHERE l_orderkey <= {old}; DELETE FROM orders WHERE o_orderkey <= {old}"),
            ),
            (
                "updates",
                "UPDATE lineitem SET l_quantity = l_quantity + 1, l_discount = 0.05 WHERE l_orderkey % 7 = 0;
                 UPDATE customer SET c_acctbal = -c_acctbal, c_mktsegment = 'BUILDING' WHERE c_custkey % 5 = 0;
                 UPDATE supplier SET s_nationkey = (s_nationkey + 1) % 25 WHERE s_suppkey % 3 = 0;
                 DELETE FROM partsupp WHERE ps_partkey % 11 = 0; DELETE FROM part WHERE p_partkey % 13 = 0"
                    .to_string(),
            ),
            (
                "the last new orders",
                format!(
                    "INSERT INTO lineitem SELECT * FROM lineitem_file WHERE l_orderkey > {middle};
                     INSERT INTO orders SELECT * FROM orders_file WHERE o_orderkey > {middle}"
                ),
            ),
        ];
        for (when, change) in steps {
            for statement in change.split(';') {
                db.run(statement).await;
            }
            db.run("FLUSH").await;
            suite::compare(&db, &made, when, &mut wrong).await;
        }
        suite::verdict(&wrong);
    });
}
